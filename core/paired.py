"""Paired comparison of two models on the same items: difference, interval and p-value.

Item difficulty affects both models alike and cancels, so the paired test detects differences that
two separate intervals would hide.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from core.intervals import Interval, bootstrap_mean, cluster_sums

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from numpy.typing import NDArray


MOST_ENUMERATED = 12  # 2^12 = 4,096 sign patterns
FLIPS = 10_000
_ROUNDING = 1e-9
_BITS = 8


class Comparison(NamedTuple):
    """Model A against model B on the items both have; every number is None when they share none.

    `difference` is mean A − mean B, with its 95 % interval (None for one cluster). `p_value` is
    two-sided, by `test`: "mcnemar_exact", "sign_flip_exact" or "sign_flip_sampled".
    """

    n: int
    n_clusters: int
    n_only_a: int
    n_only_b: int
    mean_a: float | None
    mean_b: float | None
    difference: float | None
    interval: Interval | None
    p_value: float | None
    test: str | None


class Tails(NamedTuple):
    """A test's p-values, each in (0, 1], under three alternatives: `less`: the first is worse."""

    less: float
    greater: float
    two_sided: float
    name: str


def compare(
    a: Mapping[str, float],
    b: Mapping[str, float],
    *,
    clusters: Mapping[str, Hashable] | None = None,
    seed: int,
) -> Comparison:
    """Compare two models' values on the items both have.

    Values of 0 and 1 on independent items get McNemar's exact test; everything else the sign-flip
    permutation test over sums of clusters: under the null hypothesis each cluster's
    difference is as likely to have the other sign.

    Args:
        a: value of each item for model A; an item without a value is absent, not 0.
        b: the same for model B.
        clusters: which items belong together (two turns: their question), None for none.
        seed: of the bootstrap and of sampled flips.

    Raises:
        ValueError: a value is not finite.
    """
    shared = [item for item in a if item in b]
    only_a, only_b = len(a) - len(shared), len(b) - len(shared)
    if not shared:
        return Comparison(0, 0, only_a, only_b, None, None, None, None, None, None)
    labels = [clusters[item] for item in shared] if clusters is not None else list(shared)
    first, second = [a[i] for i in shared], [b[i] for i in shared]
    differences = [x - y for x, y in zip(first, second, strict=True)]
    sums = cluster_sums(differences, labels).totals
    binary = {*first, *second} <= {0.0, 1.0}
    if binary and len(sums) == len(shared):
        test = mcnemar(differences.count(1.0), differences.count(-1.0))
    else:
        test = sign_flip(sums, seed=seed)
    n = len(shared)
    return Comparison(
        n=n,
        n_clusters=len(sums),
        n_only_a=only_a,
        n_only_b=only_b,
        mean_a=sum(first) / n,
        mean_b=sum(second) / n,
        difference=sum(differences) / n,
        interval=bootstrap_mean(differences, labels, seed=seed),
        p_value=test.two_sided,
        test=test.name,
    )


def mcnemar(only_a_right: int, only_b_right: int) -> Tails:
    """Test the items that one model alone got right against a fair coin; 1 when there are none.

    Source: McNemar 1947, in its exact (binomial) form.
    """
    n = only_a_right + only_b_right
    if n == 0:
        return Tails(1.0, 1.0, 1.0, "mcnemar_exact")
    from scipy.stats import binomtest

    less, greater, two_sided = (
        float(binomtest(only_a_right, n, 0.5, alternative=alternative).pvalue)
        for alternative in ("less", "greater", "two-sided")
    )
    return Tails(less, greater, two_sided, "mcnemar_exact")


def sign_test(wins: int, losses: int) -> float:
    """Return the two-sided p-value of head-to-head wins against losses; 1 if all are ties."""
    return mcnemar(wins, losses).two_sided


def sign_flip(sums: NDArray[np.float64], *, seed: int, flips: int = FLIPS) -> Tails:
    """Test whether sums of differences, one per cluster, could have any sign.

    All sign patterns for up to 12 clusters that differ at all; else `flips` seeded ones, counting
    the observed one among them, so that p is never 0.
    """
    moved = sums[sums != 0]
    total = float(moved.sum())
    slack = _ROUNDING * float(np.abs(moved).sum())
    if len(moved) <= MOST_ENUMERATED:
        signs = np.array(list(product((-1.0, 1.0), repeat=len(moved))))
        totals = signs @ moved
        return Tails(*_shares(totals, total, slack, observed=0), "sign_flip_exact")
    totals = _sampled_totals(moved, flips, np.random.default_rng(seed))
    return Tails(*_shares(totals, total, slack, observed=1), "sign_flip_sampled")


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values, in the order given: p ≤ α there keeps errors ≤ α in all.

    The i-th smallest of m is multiplied by m − i + 1, never falls below the one before it, and is
    at most 1. Valid however the tests depend on each other.

    Source: Holm 1979.
    """
    m, least = len(p_values), 0.0
    adjusted = [1.0] * m
    for rank, at in enumerate(sorted(range(m), key=p_values.__getitem__)):
        least = max(least, min(1.0, (m - rank) * p_values[at]))
        adjusted[at] = least
    return adjusted


def _sampled_totals(
    moved: NDArray[np.float64], flips: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return the totals under random signs: one random byte decides the signs of eight clusters."""
    groups = -(-len(moved) // _BITS)
    padded = np.zeros(groups * _BITS)
    padded[: len(moved)] = moved
    patterns = np.array(list(product((-1.0, 1.0), repeat=_BITS)))
    by_byte = patterns @ padded.reshape(groups, _BITS).T  # 256 patterns × groups
    totals = np.zeros(flips)
    for group in range(groups):
        totals += by_byte[:, group][rng.integers(0, 1 << _BITS, size=flips, dtype=np.uint8)]
    return totals


def _shares(
    totals: NDArray[np.float64], total: float, slack: float, *, observed: int
) -> tuple[float, float, float]:
    """Return the shares of totals as low, as high, and as far from 0 as the observed one."""
    count = len(totals) + observed
    reached = (totals <= total + slack, totals >= total - slack, abs(totals) >= abs(total) - slack)
    low, high, far = ((int(found.sum()) + observed) / count for found in reached)
    return low, high, far
