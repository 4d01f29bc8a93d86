"""Whether two sides give the same log-probabilities."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engines.engine import Logprob

TOLERANCE = 1e-4  # natural log, float32


# In bfloat16 both sides round differently: ours may be this much further from float32.
_FURTHER = 1.25


class Rounding(NamedTuple):
    """Mean absolute difference of both sides' log-probabilities to those in float32."""

    ours: float
    theirs: float

    @property
    def equal(self) -> bool:
        """Whether ours is about as close as the peer's."""
        return self.ours <= _FURTHER * self.theirs


def compare_rounding(
    ours: Sequence[Logprob],
    theirs: Sequence[tuple[float, bool]],
    exact: Sequence[tuple[float, bool]],
) -> Rounding:
    """Compare both sides' scores in bfloat16 with the peer's in float32, in order."""
    own = [abs(a.total - b[0]) for a, b in zip(ours, exact, strict=True)]
    other = [abs(a[0] - b[0]) for a, b in zip(theirs, exact, strict=True)]
    return Rounding(sum(own) / len(own), sum(other) / len(other))


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

    def facts(self) -> dict[str, float | bool]:
        """Return the row's values."""
        return {
            "max_difference": self.largest,
            "same_choices": self.choices,
            "same_greedy": self.greedy,
        }


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
