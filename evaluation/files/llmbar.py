"""LLMBar: can a pairwise judge tell which of two answers follows the instruction?

Source: Zeng et al. 2024, "Evaluating Large Language Models at Evaluating Instruction Following".
The files ({input, output_1, output_2, label}) are the authors' and are read, never shipped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from core.errors import DataError
from core.intervals import share_score
from core.records import Score, Verdict
from evaluation.files.json_rows import read_rows
from judges.pairwise import Comparison

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Side: TypeAlias = Literal["A", "B"]

_LABELS: dict[object, Side] = {1: "A", 2: "B"}
_TEXTS = ("input", "output_1", "output_2")
CHANCE = 50.0
_NOTHING = "no verdict to count"


class Items(NamedTuple):
    """A file's comparisons (output_1 is A), and which side is right by comparison key."""

    comparisons: list[Comparison]
    labels: dict[str, Side]


def load(path: Path) -> Items:
    """Read one of LLMBar's files; keys are the file's name and the item's place from 0.

    Raises:
        DataError: a field is missing or not text, or a label is not 1 or 2.
    """
    name = path.name.split(".")[0]
    items = Items([], {})
    for number, row in read_rows(path):
        for field in _TEXTS:
            if not isinstance(row.get(field), str):
                raise DataError(path, number, f"{field} is not text; expected {', '.join(_TEXTS)}")
        label = row.get("label")
        if isinstance(label, bool) or label not in (1, 2):
            raise DataError(path, number, f"label is {label!r}, expected 1 or 2")
        key = f"{name}/{number - 1}"
        prompt, first, second = (row[field] for field in _TEXTS)
        items.comparisons.append(Comparison(key, prompt, "output_1", "output_2", first, second))
        items.labels[key] = _LABELS[label]
    return items


def always_longer(comparisons: Sequence[Comparison]) -> list[Verdict]:
    """Return the verdicts of a judge that only counts characters; equal lengths are a tie."""
    return [
        Verdict(item.key, item.prompt_key or item.key, item.a, item.b, _longer(item))
        for item in comparisons
    ]


def _longer(item: Comparison) -> Literal["A", "B", "tie"]:
    a, b = len(item.answer_a), len(item.answer_b)
    return "tie" if a == b else "A" if a > b else "B"


def agreement(verdicts: Sequence[Verdict], labels: Mapping[str, Side]) -> list[Score]:
    """Return a judge's agreement with the labels in %, its tie rate and its parse rate.

    A tie is two orders that disagree, one of which is right: it counts half, so that the number is
    LLMBar's own average over both orders and chance is 50; `detail` has ties left out and ties as
    wrong, and the counts. Comparisons without a readable verdict, or without a verdict at all, are
    missing. Wilson intervals, on the safe side where there are ties.

    Raises:
        ValueError: a verdict has no label, or an item has two verdicts.
    """
    winners = {verdict.key: verdict.winner for verdict in verdicts}
    if len(winners) != len(verdicts) or not winners.keys() <= labels.keys():
        message = "one verdict per labelled item, with the item's key"
        raise ValueError(message)
    found = [(winner, labels[key]) for key, winner in winners.items() if winner is not None]
    ties = sum(winner == "tie" for winner, _ in found)
    right = sum(winner == label for winner, label in found)
    n, missing, asked = len(found), len(labels) - len(found), len(verdicts)
    detail: dict[str, float | None] = {
        "ties_excluded": _percent(right, n - ties),
        "ties_wrong": _percent(right, n),
        "right": right,
        "wrong": n - ties - right,
        "ties": ties,
        "chance": CHANCE,
    }
    return [
        share_score("agreement", right + ties / 2, n, missing, reason=_NOTHING, detail=detail),
        share_score("tie_rate", ties, n, missing, scale=1.0, reason=_NOTHING),
        share_score("parse_rate", n, asked, len(labels) - asked, scale=1.0, reason=_NOTHING),
    ]


def _percent(part: float, n: int) -> float | None:
    return 100 * part / n if n else None
