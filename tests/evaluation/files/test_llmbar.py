from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest

from core.errors import DataError
from core.records import Score, Verdict
from evaluation.files.llmbar import Side, agreement, always_longer, load
from judges.pairwise import AnswerPair

LABELS: dict[str, Side] = {"n/0": "A", "n/1": "B", "n/2": "A", "n/3": "B"}


def verdicts(*winners: Literal["A", "B", "tie"] | None) -> list[Verdict]:
    return [
        Verdict(f"n/{n}", f"n/{n}", "output_1", "output_2", winner, None if winner else "empty")
        for n, winner in enumerate(winners)
    ]


def by_name(rows: list[Score]) -> dict[str, Score]:
    return {row.key: row for row in rows}


def test_a_judge_that_is_always_right_agrees_100_percent_and_always_wrong_0() -> None:
    right, wrong = (agreement(verdicts(*w), LABELS)[0] for w in ("ABAB", "BABA"))  # type: ignore[arg-type]
    assert (right.value, right.n, right.missing, right.high) == (100.0, 4, 0, 100.0)
    assert (wrong.value, wrong.n, wrong.low) == (0.0, 4, 0.0)


def test_ties_count_half_and_stand_beside_the_other_readings() -> None:
    # Right, tie, wrong, unread: (1 + 1/2) of 3; 1 of 2 without the tie; 1 of 3 with it as wrong.
    found = by_name(agreement(verdicts("A", "tie", "B", None), LABELS))
    score = found["agreement"]
    assert (score.value, score.n, score.missing) == (50.0, 3, 1)
    assert score.detail == {
        "ties_excluded": 50.0, "ties_wrong": pytest.approx(100 / 3), "right": 1, "wrong": 1,
        "ties": 1, "chance": 50.0,
    }  # fmt: skip
    assert found["tie_rate"].value == pytest.approx(1 / 3)
    assert (found["parse_rate"].value, found["parse_rate"].n) == (0.75, 4)


def test_an_absent_verdict_is_missing_and_not_wrong() -> None:
    score = agreement(verdicts("A"), LABELS)[0]
    assert (score.value, score.n, score.missing) == (100.0, 1, 3)


def test_nothing_read_is_no_number_but_a_reason() -> None:
    found = by_name(agreement(verdicts(None, None, None, None), LABELS))
    assert (found["agreement"].value, found["agreement"].missing) == (None, 4)
    assert found["agreement"].reason == "no verdict to count"
    assert found["parse_rate"].value == 0.0
    assert by_name(agreement([], {}))["parse_rate"].value is None


def test_a_verdict_without_a_label_or_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="one verdict per labelled item"):
        agreement(verdicts("A"), {})
    with pytest.raises(ValueError, match="one verdict per labelled item"):
        agreement(verdicts("A") * 2, LABELS)


def test_always_longer_counts_characters() -> None:
    def item(a: str, b: str) -> AnswerPair:
        return AnswerPair("n/0", "?", "output_1", "output_2", a, b)

    items = [item("longer", "short"), item("x", "yz"), item("ab", "cd")]
    assert [verdict.winner for verdict in always_longer(items)] == ["A", "B", "tie"]


@pytest.mark.parametrize(
    ("name", "right", "wrong", "ties"), [("natural", 56, 43, 1), ("adversarial_manual", 8, 37, 1)]
)
def test_always_longer_on_the_real_files_counted_a_second_way(
    shared: Path, name: str, right: int, wrong: int, ties: int
) -> None:
    path, n = shared / "data" / "llmbar" / f"{name}.json", right + wrong + ties
    items = load(path)
    assert (len(items.comparisons), items.comparisons[-1].key) == (n, f"{name}/{n - 1}")
    score = agreement(always_longer(items.comparisons), items.labels)[0]
    assert (score.n, score.missing) == (n, 0)
    assert score.value is not None and score.low is not None and score.high is not None
    assert score.value == pytest.approx(100 * (right + ties / 2) / n)  # 56.5 and 18.5 %
    assert score.low < score.value < score.high
    raw = json.loads(path.read_text())
    sizes = [(len(r["output_1"]) - len(r["output_2"])) * (3 - 2 * r["label"]) for r in raw]
    assert (sum(s > 0 for s in sizes), sum(s < 0 for s in sizes)) == (right, wrong)


def test_a_judge_with_the_labels_is_right_on_every_real_item(shared: Path) -> None:
    items = load(shared / "data" / "llmbar" / "natural.json")
    raw = json.loads((shared / "data" / "llmbar" / "natural.json").read_text())
    for item, row in zip(items.comparisons, raw, strict=True):
        better = item.answer_a if items.labels[item.key] == "A" else item.answer_b
        assert better == row[f"output_{row['label']}"]
        assert item.prompt == row["input"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": 3}, "label is 3, expected 1 or 2"),
        ({"label": True}, "label is True, expected 1 or 2"),
        ({"label": None}, "label is None, expected 1 or 2"),
        ({"output_2": None}, "output_2 is not text"),
    ],
)
def test_a_bad_item_is_named_by_its_place(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    good = {"input": "?", "output_1": "a", "output_2": "b", "label": 1}
    path = tmp_path / "n.json"
    path.write_text(json.dumps([good, good | change]))
    with pytest.raises(DataError, match=f":2: {message}"):
        load(path)
