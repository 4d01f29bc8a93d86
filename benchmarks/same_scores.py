"""Whether two sides give the same log-probabilities."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engines.engine import Logprob

TOLERANCE = 1e-4  # natural log, float32


class Agreement(NamedTuple):
    """How far apart two lists of scores are.

    `largest` is the largest absolute difference of a request, infinite if one is no number;
    `choices` whether every item's likeliest choice is the same, `greedy` whether every request's
    greedy flag is.
    """

    largest: float
    choices: bool
    greedy: bool

    @property
    def equal(self) -> bool:
        """Whether the differences are rounding and nothing follows from them."""
        return self.largest <= TOLERANCE and self.choices and self.greedy


def compare_scores(
    ours: Sequence[Logprob], theirs: Sequence[tuple[float, bool]], choices: Sequence[int]
) -> Agreement:
    """Compare scores of items that have `choices` requests each, in order."""
    if not len(ours) == len(theirs) == sum(choices):
        raise ValueError(f"{len(ours)} and {len(theirs)} scores for {sum(choices)} requests")
    differences = [abs(a.total - b[0]) for a, b in zip(ours, theirs, strict=True)]
    largest = math.inf if any(map(math.isnan, differences)) else max(differences, default=0.0)
    same, start = True, 0
    for count in choices:
        own = [score.total for score in ours[start : start + count]]
        other = [score[0] for score in theirs[start : start + count]]
        same &= own.index(max(own)) == other.index(max(other))
        start += count
    greedy = all(a.greedy == b[1] for a, b in zip(ours, theirs, strict=True))
    return Agreement(largest, same, greedy)
