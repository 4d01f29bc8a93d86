from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from core.errors import DataError
from evaluation.arena_hard.battles import Battle, battle_of, read_judgments

if TYPE_CHECKING:
    from pathlib import Path


def test_verdicts_count_from_the_models_side_with_their_weight() -> None:
    # The baseline is shown first, then the model. "B>>A" and "A>B" both favour the model: 3 of 3
    # and 1 of 1.
    assert battle_of("q", "m", "c", ["B>>A", "A>B"]) == Battle("q", "m", "c", 4.0, 4.0)
    # "A>>B" favours the baseline (0 of 3), the tie is half.
    assert battle_of("q", "m", "c", ["A>>B", "A=B"]) == Battle("q", "m", "c", 0.5, 4.0)
    # The model is always shown second and always called better: one win, one loss.
    assert battle_of("q", "m", "c", ["B>A", "B>A"]) == Battle("q", "m", "c", 1.0, 2.0)


def test_the_other_spelling_means_the_same() -> None:
    for one, other in (("A>>B", "B<<A"), ("A>B", "B<A"), ("A=B", "B=A"), ("A<<B", "B>>A")):
        assert battle_of("q", "m", "c", [one, one]) == battle_of("q", "m", "c", [other, other])


def test_a_question_with_one_unreadable_order_does_not_count() -> None:
    for labels in (["B>A", None], ["B>A"], []):
        assert battle_of("q", "m", "c", labels) == Battle("q", "m", "c", None, 0.0)


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def row(**changes: object) -> dict[str, object]:
    games = [{"score": "B>A"}, {"score": "A>B"}]
    return {"uid": "q1", "model": "m", "judge": "j", "category": "coding", "games": games} | changes


def test_both_versions_are_read(tmp_path: Path) -> None:
    first = {**row(question_id="old")}
    del first["uid"], first["category"]
    found = read_judgments(write(tmp_path / "j.jsonl", first, row()))
    assert [(b.question, b.category, b.won) for b in found] == [
        ("old", "arena-hard-v0.1", 2.0),
        ("q1", "coding", 2.0),
    ]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(games=[{"score": "A>>>B"}, {"score": "A>B"}])], ":1: score 'A>>>B'; expected"),
        ([row(), row()], ":2: question q1 of m is here twice"),
        ([row(games=3)], ':1: expected "uid" or "question_id"'),
    ],
)
def test_bad_rows_are_named(rows: list[object], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message.replace("(", r"\(")):
        read_judgments(write(tmp_path / "j.jsonl", *rows))


def test_answers_given_as_judgments_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {"question_id": "q", "model_id": "m", "choices": []})
    with pytest.raises(DataError, match=r"model answers .*; srlm-eval arena-hard --answers"):
        read_judgments(path)
