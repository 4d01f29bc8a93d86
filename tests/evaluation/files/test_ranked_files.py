from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import pytest

from core.errors import DataError
from evaluation.files.ranked_files import read_ranked, report


def write(path: Path, *rows: dict[str, Any]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def reply(rank: float, score: object, **more: object) -> dict[str, Any]:
    return {"rank": rank, "score": score, **more}


GROUPED: list[dict[str, Any]] = [
    {"prompt": "a", "replies": [reply(0, 5), reply(1, 3)]},
    {"prompt": "b", "replies": [reply(0, 4), reply(1, 4), reply(2, None)]},
    {"prompt": "c", "replies": [reply(0, 5)]},
]


def test_a_report_has_all_metrics_counts_intervals_and_baselines(tmp_path: Path) -> None:
    found = report(write(tmp_path / "r.jsonl", *GROUPED))
    # a: one pair, right. b: one scored pair, tied. c: one reply, left out.
    assert (found["n_prompts"], found["n_prompts_left_out"], found["n_replies"]) == (2, 1, 5)
    assert (found["n_pairs"], found["n_pairs_untied"], found["n_perfect"]) == (2, 1, 1)
    assert (found["parse_rate"], found["tie_rate"]) == (0.8, 0.5)
    assert found["pairwise_accuracy"] == {
        "ties_excluded": 100.0, "ties_half": 75.0, "ties_wrong": 50.0,
    }  # fmt: skip
    assert found["exact_match"] == {
        "ties_excluded": 100.0, "ties_half": 100.0, "ties_wrong": 100.0,
    }  # fmt: skip
    assert found["five_best"] == 100.0
    assert found["kendall_tau"]["per_prompt"] == 0.5
    assert found["kendall_tau"]["per_prompt_ties_excluded"] == 1.0
    interval = found["intervals"]["pairwise_accuracy"]["ties_half"]
    assert interval["low"] < 10 and interval["high"] > 99  # two prompts
    assert set(found["baselines"]) == {"always_4", "shuffled"}  # no texts, no lengths
    assert "NaN" not in json.dumps(found)


def test_what_is_left_out_is_said_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tied = {"prompt": "d", "replies": [reply(1, 5), reply(1, 3)]}
    report(write(tmp_path / "r.jsonl", *GROUPED, tied))
    said = " ".join(capsys.readouterr().err.split())
    assert "2 of 4 prompts are left out: 1 with a single reply, 1 whose replies all have" in said
    report(write(tmp_path / "whole.jsonl", *GROUPED[:2]))
    assert capsys.readouterr().err == ""
    with pytest.raises(DataError, match=r"differently ranked replies: 1 of 1 .* a single reply"):
        report(write(tmp_path / "none.jsonl", GROUPED[2]))


def test_the_judges_words_are_not_taken_for_the_reply(
    shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The file's prompts are the judge's (each with its reply inside) and so are the responses.
    found = report(shared / "cases" / "agreement_judge_prompts.jsonl")
    assert "length" not in found["baselines"]
    said = " ".join(capsys.readouterr().err.split())
    assert "2 of 3 prompts are left out: 2 with a single reply" in said
    assert "is that the judge's prompt" in said
    assert 'the "response" of 4 rows ends in their score' in said


def test_a_response_that_ends_in_no_score_is_the_reply(tmp_path: Path) -> None:
    rows = [reply(rank, 3, prompt="a", response=f"Score: {rank + 1} is a film") for rank in (0, 1)]
    assert "length" in report(write(tmp_path / "r.jsonl", *rows))["baselines"]


def test_one_row_per_reply_gives_the_same_report(tmp_path: Path) -> None:
    flat = [{"question": row["prompt"], **answer} for row in GROUPED for answer in row["replies"]]
    flat = flat[::2] + flat[1::2]  # replies of one prompt need not be neighbours
    a, b = write(tmp_path / "a.jsonl", *GROUPED), write(tmp_path / "b.jsonl.gz", *flat)
    for name in ("pairwise_accuracy", "exact_match", "five_best", "n_replies", "kendall_tau"):
        assert report(b)[name] == report(a)[name]


def test_lengths_are_a_baseline_only_if_every_reply_has_its_text(tmp_path: Path) -> None:
    rows = [
        {"instruction": "a", **reply(0, 1, answer="longer")},
        {"instruction": "a", **reply(1, 2, answer="short")},
    ]
    found = report(write(tmp_path / "r.jsonl", *rows))
    assert found["pairwise_accuracy"]["ties_excluded"] == 0.0
    assert found["baselines"]["length"]["pairwise_accuracy"]["ties_excluded"] == 100.0
    rows.append({"instruction": "a", **reply(2, 2)})
    assert "length" not in report(write(tmp_path / "r.jsonl", *rows))["baselines"]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"prompt": "d", "rank": 0}, ":4: score is absent"),
        ({"prompt": "d", "rank": 0, "score": "5"}, ':4: score is "5", expected a finite number'),
        ({"prompt": "d", "rank": None, "score": 5}, ":4: rank is null"),
        ({"prompt": "d", "rank": 0, "score": math.nan}, ":4: score is NaN"),
        ({"prompt": "d", "replies": [{"rank": 0, "score": True}]}, ":4: score is true"),
        ({"prompt": "d", "replies": {"rank": 0}}, ":4: replies is not a list of objects"),
        ({"prompt": "a", "replies": []}, ":4: the replies to 'a' were given before, on line 1"),
        ({"prompt": "a", "rank": 3, "score": 1}, ":4: the replies to 'a' were given before"),
        ({"rank": 0, "score": 1}, ":4: no prompt; expected"),
        ({"prompt": "d", "score": 1}, ":4: neither replies nor rank; expected"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path: Path, bad: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "r.jsonl", *GROUPED, bad)
    with pytest.raises(DataError) as error:
        report(path)
    assert str(error.value).startswith(f"{path}{message}")


def test_a_file_without_any_human_order_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no instruction here has two differently ranked replies"):
        report(write(tmp_path / "r.jsonl", GROUPED[2]))


def test_real_rankings_with_length_as_the_score(shared: Path, tmp_path: Path) -> None:
    source = shared / "data" / "oasst" / "oasst2_ranked_first_turns.jsonl"
    rows = [json.loads(line) for line in source.read_text().splitlines()]
    path = write(tmp_path / "r.jsonl", *(r | {"score": len(r["answer"])} for r in rows))
    assert len(read_ranked(path).prompts) == 2293
    found = report(path)
    assert (found["n_prompts"], found["n_replies"], found["n_pairs"]) == (548, 1287, 1090)
    assert found["baselines"]["length"]["pairwise_accuracy"] == found["pairwise_accuracy"]
    assert found["baselines"]["shuffled"]["pairwise_accuracy"]["ties_half"] == pytest.approx(
        50, abs=1
    )
