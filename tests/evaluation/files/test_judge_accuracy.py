from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from core.errors import DataError
from evaluation.files.judge_accuracy import Labelled, report, score
from tests.loop import main

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def written(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def value(found: dict[str, Any], name: str) -> float:
    return float(found[name]["value"])


def percent(text: str) -> float:
    """LLMBar's statistics: "95 / 100 = 95.0%" or "95.5%"."""
    return float(text.rpartition("= ")[2].removesuffix("%"))


def test_every_recorded_statistic_of_llmbar_is_reproduced(shared: Path) -> None:
    files = sorted((shared / "data" / "llmbar").glob("*.result.json.gz"))
    assert len(files) >= 20
    for path in files:
        theirs = json.loads(
            path.with_name(path.name.replace("result.json.gz", "statistics.json")).read_text()
        )
        ours = report([path])
        assert value(ours, "average_accuracy") == pytest.approx(percent(theirs["correct_average"]))
        assert value(ours, "positional_agreement") == pytest.approx(percent(theirs["equal"]))
        assert value(ours, "right_in_all_orders") == pytest.approx(percent(theirs["correct_both"]))


def test_the_swap_method_counts_its_last_answers(shared: Path) -> None:
    # 7 of GPT-4 Swap's 100 items were asked twice; MANIFEST.md, statistics of Metrics+Reference.
    folder = shared / "data" / "llmbar"
    best = report([folder / "natural.GPT-4.Metrics_Reference.result.json.gz"])
    assert value(best, "average_accuracy") == 96.0
    manual = report([folder / "manual.GPT-4.Metrics_Reference.result.json.gz"])
    assert value(manual, "average_accuracy") == pytest.approx(83.70, abs=0.005)


# knowledge, reasoning, math, coding, overall: the table in MANIFEST.md.
JUDGEBENCH = {
    "judged.gpt-4o-2024-05-13.o1-mini-2024-09-12.jsonl.gz": (58.44, 62.24, 82.14, 78.57, 65.71),
    "rewarded.gpt-4o-2024-05-13.Skywork_Skywork-Reward-Gemma-2-27B.jsonl": (
        59.74, 66.33, 83.93, 50.00, 64.29,
    ),
    "rewarded.gpt-4o-2024-05-13.internlm_internlm2-20b-reward.jsonl": (
        62.34, 69.39, 66.07, 50.00, 63.43,
    ),
    "rewarded.gpt-4o-2024-05-13.Skywork_Skywork-Reward-Llama-3.1-8B.jsonl": (
        59.09, 64.29, 76.79, 50.00, 62.29,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", JUDGEBENCH)
def test_the_judges_of_judgebench_have_their_table(name: str, shared: Path) -> None:
    found = report([shared / "data" / "judgebench" / name])
    by = {c: value(one, "pair_accuracy") for c, one in found["by_category"].items()}
    ours = [by[c] for c in ("knowledge", "reasoning", "math", "coding")]
    assert [*ours, value(found, "pair_accuracy")] == pytest.approx(JUDGEBENCH[name], abs=0.005)
    assert len(by) == 4


def test_the_command_prints_one_object(shared: Path) -> None:
    path = shared / "data" / "llmbar" / "natural.GPT-4.Vanilla.result.json.gz"
    done = main("evaluation", "judge-accuracy", "--verdicts", path, "--json")
    assert json.loads(done.stdout) == report([path])
    plain = main("evaluation", "judge-accuracy", "--verdicts", path).stdout
    assert "average_accuracy.value                           95.5000" in plain


def test_gpt_35_against_the_majority_of_pandalms_people(shared: Path) -> None:
    folder = shared / "data" / "pandalm"
    found = report([folder / "gpt-3.5-turbo-testset-v1.json.gz"], folder / "testset-v1.json.gz")
    assert value(found, "average_accuracy") == pytest.approx(71.07, abs=0.005)
    macro = {"precision": 58.79, "recall": 57.36, "f1": 57.55}
    assert found["macro"] == pytest.approx(macro, abs=0.01)
    # 25 replies are garbage, which counts as a tie: 12 of them are wrong only for that.
    assert (found["n"], found["orders"], found["n_unread"]) == (999, 1, 25)
    assert found["average_accuracy"]["readable"] == pytest.approx(71.56, abs=0.005)
    assert found["positional_agreement"] is None


@pytest.mark.parametrize(
    ("part", "jury", "best"), [("natural", 94.0, 95.5), ("manual", 57.61, 80.43)]
)
def test_a_jury_of_five_can_be_worse_than_its_best_member(
    part: str, jury: float, best: float, shared: Path
) -> None:
    judges = ("GPT-4", "ChatGPT", "Falcon", "LLaMA2", "PaLM2")
    folder = shared / "data" / "llmbar"
    found = report([folder / f"{part}.{judge}.Vanilla.result.json.gz" for judge in judges])
    assert value(found, "plurality") == pytest.approx(jury, abs=0.005)
    accuracies = [value(one, "average_accuracy") for one in found["judges"]]
    assert max(accuracies) == pytest.approx(best, abs=0.005)


def test_own_verdicts_are_scored_by_hand(tmp_path: Path) -> None:
    path = written(
        tmp_path / "own.jsonl",
        [
            {"item": "a", "label": "A", "ab": "A", "ba": "A", "category": "x"},
            {"item": "b", "label": "A", "ab": "A", "ba": "B", "category": "x"},
            {"item": "c", "label": "B", "ab": "B", "ba": "tie", "category": "y"},
            {"item": "d", "label": "B", "ab": None, "ba": "B", "category": "y"},
            {"item": "e", "labels": ["A", "B", "tie"], "ab": "A", "ba": "A"},
            {"item": "f", "labels": ["A", "B", "A"], "ab": "B", "ba": "B", "category": "y"},
        ],
    )
    found = report([path])
    assert [found[k] for k in ("n", "n_unlabelled", "orders", "n_votes", "n_unread")] == [
        5, 1, 2, 10, 1,
    ]  # fmt: skip
    # Right votes: 2 + 1 + 1 + 1 + 0 of 10; of the 9 that could be read, 5.
    assert value(found, "average_accuracy") == pytest.approx(50.0)
    assert found["average_accuracy"]["readable"] == pytest.approx(100 * 5 / 9)
    # Sums: a 2, b 0, c 1, d 1, f −2.
    assert value(found, "pair_accuracy") == pytest.approx(60.0)
    assert value(found, "right_in_all_orders") == pytest.approx(20.0)
    # The same vote twice: a and f of 5; d cannot be read in both.
    assert value(found, "positional_agreement") == pytest.approx(40.0)
    assert found["positional_agreement"]["readable"] == pytest.approx(50.0)
    assert {c: one["n"] for c, one in found["by_category"].items()} == {"x": 2, "y": 3}
    assert value(found["by_category"]["x"], "average_accuracy") == pytest.approx(75.0)


def test_perfect_worst_and_nothing() -> None:
    right = [Labelled(str(k), "A" if k % 2 else "B", ("A" if k % 2 else "B",)) for k in range(4)]
    wrong = [item._replace(label="A" if item.label == "B" else "B") for item in right]
    unread = [item._replace(votes=(None,)) for item in right]
    for items, expected in ((right, 100.0), (wrong, 0.0), (unread, 0.0)):
        found = score(items)
        assert value(found, "average_accuracy") == value(found, "pair_accuracy") == expected
        assert found["macro"] == dict.fromkeys(("precision", "recall", "f1"), expected)
        assert found["average_accuracy"]["low"] < found["average_accuracy"]["high"]
    assert score(unread)["average_accuracy"]["readable"] is None
    assert score([])["average_accuracy"]["value"] is None
    assert score([])["macro"]["f1"] is None


def test_labels_of_another_file_are_joined_by_pair(tmp_path: Path) -> None:
    verdicts = written(tmp_path / "v.jsonl", [{"item": k, "ab": "A"} for k in ("a", "b", "c")])
    rows = [{"item": "b", "label": 1}, {"item": "a", "labels": [2, 2, 0]}]
    found = report([verdicts], written(tmp_path / "l.jsonl", rows))
    assert (found["n"], found["n_unlabelled"]) == (2, 1)
    assert value(found, "average_accuracy") == 50.0
    with pytest.raises(DataError, match="no pair has a label; give the labels' file"):
        report([verdicts])
    with pytest.raises(DataError, match=r"l\.jsonl:2: pair b occurs twice"):
        report([verdicts], written(tmp_path / "l.jsonl", [rows[0], rows[0]]))
    with pytest.raises(DataError, match=r"l.jsonl:1: 'better' is no side"):
        report([verdicts], written(tmp_path / "l.jsonl", [{"item": "a", "label": "better"}]))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"winner": "A"}, "no recorded verdict; expected"),
        ({"item": "b", "label": "A", "ab": "a"}, "'a' is no side"),
        ({"item": "b", "label": True, "ab": "A"}, "True is no side"),
        ({"item": "a", "label": "A", "ab": "A"}, "pair a occurs twice"),
        ({"label": 1, "results": []}, "expected"),
        ({"label": 1, "results": [{"swap = False": {}}]}, "expected"),
        ({"pair_id": "b", "label": "A>B", "judgments": []}, "no verdict"),
        ({"pair_id": "b", "label": "A>B", "judgments": ["A"]}, "expected"),
        ({"pair_id": "b", "label": [], "judgments": [{"decision": "A>B"}]}, "is no side"),
    ],
)
def test_a_bad_row_is_named_by_its_place(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    good = {"item": "a", "label": "A", "ab": "A"}
    with pytest.raises(DataError, match=f"v.jsonl:2: .*{message}"):
        report([written(tmp_path / "v.jsonl", [good, row])])


def test_several_judges_need_the_same_pairs(tmp_path: Path) -> None:
    one = written(tmp_path / "1.jsonl", [{"item": "a", "label": "A", "ab": "A"}])
    other = written(tmp_path / "2.jsonl", [{"item": "b", "label": "A", "ab": "A"}])
    with pytest.raises(DataError, match=r"2.jsonl.*other pairs or labels than .*1.jsonl"):
        report([one, other])
