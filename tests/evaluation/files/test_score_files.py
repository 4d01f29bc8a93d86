from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import pytest

from core.errors import DataError
from core.paired import tango
from evaluation.files.score_files import report


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def test_a_report_compares_every_metric_of_every_task(tmp_path: Path) -> None:
    def row(task: str, item: str, **metrics: float) -> dict[str, Any]:
        return {"key": f"{task}/{item}", "task": task, "item": item, "metrics": metrics,
                "detail": {}}  # fmt: skip

    a = [row("arc", "1", acc=1, acc_norm=1), row("arc", "2", acc=1, acc_norm=0),
         row("gsm8k", "1", exact_match=1)]  # fmt: skip
    b = [row("arc", "1", acc=0, acc_norm=1), row("arc", "2", acc=1, acc_norm=0),
         row("piqa", "1", acc=1)]  # fmt: skip
    found = report(write(tmp_path / "a.jsonl", a), write(tmp_path / "b.jsonl.gz", b))
    low, high = tango(1, 0, 2)
    assert found["metrics"]["arc/acc"] == {
        "n": 2, "n_clusters": 2, "n_only_a": 0, "n_only_b": 0, "n_missing_a": 0, "n_missing_b": 0,
        "mean_a": 1.0, "mean_b": 0.5, "difference": 0.5, "low": low, "high": high,
        "p_value": 1.0, "test": "mcnemar_exact",
    }  # fmt: skip
    assert found["metrics"]["arc/acc_norm"]["difference"] == 0.0
    assert (found["metrics_only_a"], found["metrics_only_b"]) == (
        ["gsm8k/exact_match"],
        ["piqa/acc"],
    )


def test_lm_evals_samples_are_compared_by_metric_and_filter(tmp_path: Path) -> None:
    def sample(doc: int, taken: str, value: object) -> dict[str, Any]:
        return {"doc_id": doc, "doc": {}, "target": "4", "resps": [["4"]], "filter": taken,
                "metrics": ["exact_match", "f1"], "exact_match": value, "f1": [0, 1]}  # fmt: skip

    a = [sample(d, f, 1.0) for d in (0, 1) for f in ("strict-match", "flexible-extract")]
    b = [sample(0, "strict-match", False), sample(1, "strict-match", True)]
    found = report(write(tmp_path / "a.jsonl", a), write(tmp_path / "b.jsonl", b))
    # Item 1 right by both, item 0 by one: 1.0 against 0.5. f1 is no mean over items.
    assert list(found["metrics"]) == ["exact_match,strict-match"]
    assert found["metrics"]["exact_match,strict-match"]["difference"] == 0.5
    assert found["metrics_only_a"] == ["exact_match,flexible-extract"]


def test_annotations_count_from_0_to_1_and_the_turns_of_a_question_together(tmp_path: Path) -> None:
    a = write(tmp_path / "a.jsonl", [{"instruction": "x", "preference": 1.75},
                                     {"instruction": "y", "preference": 0},
                                     {"instruction": "z", "preference": None}])  # fmt: skip
    b = write(tmp_path / "b.jsonl", [{"instruction": n, "preference": 1.25} for n in "xyz"])
    found = report(a, b)["metrics"]["preference"]
    # 0.75 and (0 means a draw) 0.5 against 0.25 and 0.25; z has no preference, which is no loss.
    assert (found["n"], found["mean_a"], found["mean_b"]) == (2, 0.625, 0.25)
    assert (found["n_missing_a"], found["n_only_b"]) == (1, 1)
    grades = [{"question_id": q, "turn": t, "score": 8} for q in (81, 82) for t in (1, 2)]
    worse = [g | {"score": -1 if g["question_id"] == 82 and g["turn"] == 2 else 7} for g in grades]
    turns = report(write(tmp_path / "c.jsonl", grades), write(tmp_path / "d.jsonl", worse))
    found = turns["metrics"]["score"]
    # FastChat's -1 is an unread grade, no -1 point.
    assert (found["n"], found["n_clusters"], found["mean_b"]) == (3, 2, 7.0)
    assert (found["n_missing_b"], found["n_only_a"]) == (1, 1)


def test_several_draws_of_one_grade_are_averaged(tmp_path: Path) -> None:
    rows = [{"question_id": 81, "turn": 1, "draw": d, "score": s} for d, s in enumerate((6, 8, -1))]
    a, b = write(tmp_path / "a.jsonl", rows), write(tmp_path / "b.jsonl", rows[:1])
    found = report(a, b)["metrics"]["score"]
    assert (found["mean_a"], found["mean_b"], found["n"]) == (7.0, 6.0, 1)


def test_plain_rows_may_name_metric_and_cluster(tmp_path: Path) -> None:
    a = [{"id": 1, "value": 0.2, "metric": "f1", "cluster": "p"},
         {"key": "two", "score": 0.4, "metric": "f1", "cluster": "p"}]  # fmt: skip
    found = report(write(tmp_path / "a.jsonl", a), write(tmp_path / "b.jsonl", a))
    assert list(found["metrics"]) == ["f1"]
    assert (found["metrics"]["f1"]["n"], found["metrics"]["f1"]["n_clusters"]) == (2, 1)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"item": "x", "score": 2}, ":3: score of 'x' was given before, on line 1"),
        ({"item": "z", "score": "high"}, ':3: score is "high", expected a finite number'),
        ({"item": "z", "score": True}, ":3: score is true, expected"),
        ({"item": "z", "score": math.nan}, ":3: score is NaN, expected"),
        ({"item": "z", "score": 10**400}, ":3: score is 1000"),
        ({"item": "z", "metrics": {"acc": "1"}}, ':3: acc is "1", expected'),
        ({"item": "z"}, ":3: no score; expected item scores"),
        ({"score": 1}, ":3: no item; expected"),
        ({"instruction": "z", "preference": 3}, r":3: preference 3 is not in 1..2"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path: Path, bad: dict[str, Any], message: str) -> None:
    good: list[dict[str, Any]] = [{"item": "x", "score": 1}, {"item": "y", "score": 1}]
    a = write(tmp_path / "a.jsonl", good)
    b = write(tmp_path / "b.jsonl", [*good, bad])
    with pytest.raises(DataError) as error:
        report(a, b)
    assert str(error.value).startswith(f"{b}{message}")


def test_files_that_share_no_item_are_an_error(tmp_path: Path) -> None:
    a = write(tmp_path / "a.jsonl", [{"item": "x", "score": 1}])
    b = write(tmp_path / "b.jsonl", [{"item": "y", "score": 1}])
    c = write(tmp_path / "c.jsonl", [{"item": "x", "score": 1, "metric": "other"}])
    for other in (b, c):
        with pytest.raises(DataError, match="shares no item with"):
            report(a, other)


def test_a_cluster_that_differs_between_the_files_is_an_error(tmp_path: Path) -> None:
    a = write(tmp_path / "a.jsonl", [{"item": "x", "score": 1, "cluster": "p"}])
    b = write(tmp_path / "b.jsonl", [{"item": "x", "score": 1, "cluster": "q"}])
    with pytest.raises(DataError, match="cluster 'q' here, 'p' in the other"):
        report(a, b)


def test_real_annotations_give_the_published_win_rates_and_their_difference(shared: Path) -> None:
    folder = shared / "data" / "alpaca_eval"
    paths = [folder / f"{m}.annotations.json.gz" for m in ("humpback-llama2-70b", "alpaca-7b")]
    found = report(*paths)["metrics"]["preference"]
    assert found["n"] == 805
    assert 100 * found["mean_a"] == pytest.approx(10.121772, abs=5e-6)
    assert 100 * found["mean_b"] == pytest.approx(2.591451, abs=5e-6)
    assert found["low"] < found["difference"] < found["high"]
    assert found["p_value"] == pytest.approx(1 / 10_001)
    assert report(*paths) == report(*paths)


def test_two_davinci_rows_that_were_never_judged_are_not_losses(shared: Path) -> None:
    folder = shared / "data" / "alpaca_eval"
    paths = [folder / f"{m}.annotations.json.gz" for m in ("text_davinci_001", "alpaca-7b")]
    found = report(*paths)["metrics"]["preference"]
    assert (found["n"], found["n_only_a"], found["n_only_b"]) == (803, 0, 2)
    assert 100 * found["mean_a"] == pytest.approx(2.764005, abs=5e-6)


def test_real_mt_bench_judgments_have_80_questions_and_160_turns(shared: Path) -> None:
    path = shared / "data" / "mt_bench" / "gpt-4_single.gemini-1.5-flash.jsonl"
    found = report(path, path)["metrics"]["score"]
    assert (found["n"], found["n_clusters"], found["p_value"]) == (160, 80, 1.0)
    assert found["mean_a"] == pytest.approx(8.7688, abs=5e-5)
