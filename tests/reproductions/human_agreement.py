"""How often do annotators agree with human majorities? AlpacaEval's own measure of its judges.

Definition (alpaca_eval/analyze.py): of each pair of outputs the first four human votes count; pairs
with fewer are left out. Humans: each vote against the majority of the other three. A judge: its
preference against the majority of all four, where two against two resolves to output 2. Agreement
is 1 − |difference|, so that a preference between 1 and 2 is credited in part.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from core.errors import DataError
from evaluation.files.json_rows import number, read_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

VOTES = 4


class Pair(NamedTuple):
    """Two outputs of one instruction: what was voted on."""

    instruction: str
    output_1: str
    output_2: str


class Agreement(NamedTuple):
    """Agreement in percent (50 is chance), None if there is nothing to compare.

    `n` counts pairs; `missing` those on which the judge has no preference, which are left out.
    """

    percent: float | None
    n: int
    missing: int = 0


def read_votes(path: Path) -> dict[Pair, list[float]]:
    """Read human cross-annotations: each pair's preferences (1 or 2) in the file's order.

    Raises:
        DataError: a text is absent, or a preference is neither 1 nor 2.
    """
    votes: dict[Pair, list[float]] = defaultdict(list)
    for line, row in read_rows(path, "annotations"):
        preference = number(path, line, row, "preference")
        if preference not in (1, 2):
            raise DataError(path, line, f"preference {preference:g}: humans vote 1 or 2")
        votes[_pair(path, line, row)].append(preference)
    return dict(votes)


def human_agreement(votes: Mapping[Pair, Sequence[float]]) -> Agreement:
    """Return how often a human agrees with the majority of the three others."""
    found = [
        math.fsum(
            _agree(vote, majority([*counted[:k], *counted[k + 1 :]]))
            for k, vote in enumerate(counted)
        )
        / VOTES
        for counted in _counted(votes).values()
    ]
    return _mean(found, 0)


def judge_agreement(
    votes: Mapping[Pair, Sequence[float]], prefer: Callable[[Pair], float | None]
) -> Agreement:
    """Return how often a judge agrees with the majority of the four humans.

    Args:
        votes: the humans'.
        prefer: the judge's preference in [1, 2] for a pair, None if it has none.
    """
    found, missing = [], 0
    for pair, counted in _counted(votes).items():
        preference = prefer(pair)
        if preference is None:
            missing += 1
        else:
            found.append(_agree(preference, majority(counted)))
    return _mean(found, missing)


def longer(pair: Pair) -> float:
    """Prefer the longer output; of two equally long ones the second, as the package does."""
    return 1.0 if len(pair.output_1) > len(pair.output_2) else 2.0


def majority(votes: Sequence[float]) -> float:
    """Return the majority of votes for 1 or 2; a draw resolves to 2."""
    return 1.0 if 2 * sum(vote == 1 for vote in votes) > len(votes) else 2.0


def _counted(votes: Mapping[Pair, Sequence[float]]) -> dict[Pair, list[float]]:
    return {pair: list(v[:VOTES]) for pair, v in votes.items() if len(v) >= VOTES}


def _agree(preference: float, with_: float) -> float:
    return 1 - abs(preference - with_)


def _mean(found: Iterable[float], missing: int) -> Agreement:
    values = list(found)
    percent = 100 * math.fsum(values) / len(values) if values else None
    return Agreement(percent, len(values), missing)


def _pair(path: Path, line: int, row: dict[str, Any]) -> Pair:
    texts = [row.get(field) for field in Pair._fields]
    for field, text in zip(Pair._fields, texts, strict=True):
        if not isinstance(text, str):
            raise DataError(path, line, f"{field} is not text")
    return Pair(*(str(text) for text in texts))
