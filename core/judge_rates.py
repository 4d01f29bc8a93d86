"""A judge's rate corrected by people's labels of a part of the items.

A judge that is right on a share q₁ of what people call wins and on q₀ of their losses reports a
win rate of p = θ·q₁ + (1 − θ)·(1 − q₀) where theirs is θ. The corrected rate solves for θ. Its
interval holds every θ whose expected p is within the sampling error of all three rates: an
inverted test, which stays honest where q₀ + q₁ is near 1 and a linear approximation would not.

Source: Lee et al. 2025, "How to Correctly Report LLM-as-a-Judge Evaluations" (arXiv 2511.21140);
Rogan and Gladen 1978 for the estimate. The interval here inverts the test (Fieller).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from core.intervals import Interval, Z

_ADDED = 1.0  # to both outcomes of each rate, so that 0 of 5 has a variance
_MOST_TIMES = 4096.0  # labels considered for a narrower interval, as a multiple of those there are


class Labels(NamedTuple):
    """People's labels of items that the judge decided too: how often it was right."""

    right_on_wins: int
    wins: int
    right_on_losses: int
    losses: int

    @property
    def q1(self) -> float:
        """Share of people's wins that the judge calls wins."""
        return self.right_on_wins / self.wins

    @property
    def q0(self) -> float:
        """Share of people's losses that the judge calls losses."""
        return self.right_on_losses / self.losses


class Corrected(NamedTuple):
    """The corrected rate in [0, 1] and its 95 % interval; None, with a reason, if there is none."""

    value: float | None
    interval: Interval | None
    reason: str | None = None


class _Rate(NamedTuple):
    value: float
    variance: float

    @classmethod
    def of(cls, successes: float, n: float) -> _Rate:
        total = n + 2 * _ADDED
        value = (successes + _ADDED) / total
        return cls(value, value * (1 - value) / total)


def corrected_rate(judge_wins: float, n: int, labels: Labels) -> Corrected:
    """Correct a judge's `judge_wins` of `n` by people's labels.

    Refused without labels of both kinds, and where q₀ + q₁ ≤ 1: the judge then says nothing about
    people's verdicts. With too few labels to tell q₀ + q₁ from 1 there is a value without an
    interval.

    Raises:
        ValueError: counts that do not fit each other.
    """
    for successes, of in ((judge_wins, n), labels[:2], labels[2:]):
        if not 0 <= successes <= of:
            message = f"{successes} of {of}"
            raise ValueError(message)
    if not n or not labels.wins or not labels.losses:
        return Corrected(None, None, "people's labels of both wins and losses are needed")
    informed = labels.q0 + labels.q1 - 1
    if informed <= 0:
        return Corrected(
            None,
            None,
            f"the judge is right on {labels.q1:.0%} of people's wins and {labels.q0:.0%} of their "
            "losses, together no more than by chance: its rate cannot be corrected",
        )
    value = (judge_wins / n + labels.q0 - 1) / informed
    value = min(1.0, max(0.0, value))
    interval = _interval(judge_wins, n, labels)
    few = None if interval else "too few labels to tell the judge from chance: no interval"
    return Corrected(value, interval, few)


def _interval(judge_wins: float, n: float, labels: Labels, times: float = 1.0) -> Interval | None:
    """Return all θ with (p + q₀ − 1 − θ·(q₀ + q₁ − 1))² ≤ z²·its variance; None if unbounded.

    `times`: as if there were so many times as many labels.
    """
    rate = _Rate.of(judge_wins, n)
    one = _Rate.of(times * labels.right_on_wins, times * labels.wins)
    zero = _Rate.of(times * labels.right_on_losses, times * labels.losses)
    offset, slope, z2 = rate.value + zero.value - 1, zero.value + one.value - 1, Z * Z
    # a·θ² − 2·b·θ + c ≤ 0; the variance is that of p, of θ·q₁ and of (1 − θ)·q₀.
    a = slope**2 - z2 * (zero.variance + one.variance)
    b = offset * slope - z2 * zero.variance
    c = offset**2 - z2 * (rate.variance + zero.variance)
    if a <= 0 or slope <= 0:
        return None
    root = math.sqrt(max(0.0, b * b - a * c))
    low, high = ((b + sign * root) / a for sign in (-1, 1))
    return Interval(min(1.0, max(0.0, low)), min(1.0, max(0.0, high)))


def labels_to_halve(judge_wins: float, n: int, labels: Labels) -> int | None:
    """Return how many labels in all would halve the interval, at the rates seen so far.

    None if no number of labels does: the judge's own items are too few.
    """
    now, have = _interval(judge_wins, n, labels), labels.wins + labels.losses
    if now is None:
        return None
    wanted, times = (now.high - now.low) / 2, 1.0
    while times <= _MOST_TIMES:
        found = _interval(judge_wins, n, labels, times)
        if found is not None and found.high - found.low <= wanted:
            return math.ceil(times * have)
        times *= 1.05
    return None
