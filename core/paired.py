"""Two models on the same items: the difference, its interval, and whether it may be chance.

Every item is its own control: what makes an item hard is hard for both, so the paired test sees
differences that two separate intervals would hide.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from core.intervals import Interval, bootstrap_mean, cluster_sums

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from numpy.typing import NDArray


_MOST_ENUMERATED = 12  # 2^12 = 4,096 sign patterns
_FLIPS = 10_000
_ROUNDING = 1e-9
_FLIPS_AT_ONCE = 1 << 21


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


class Test(NamedTuple):
    """A two-sided p-value in (0, 1] and the test's name."""

    p_value: float
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
    permutation test over sums of clusters: if neither model were better, each cluster's difference
    could as well have the other sign.

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
        p_value=test.p_value,
        test=test.name,
    )


def mcnemar(only_a_right: int, only_b_right: int) -> Test:
    """Test the items that one model alone got right against a fair coin; 1 when there are none.

    Source: McNemar 1947, in its exact (binomial) form.
    """
    return Test(_coin(only_a_right, only_b_right), "mcnemar_exact")


def sign_test(wins: int, losses: int) -> Test:
    """Test head-to-head wins against losses; ties say nothing about who is better and are dropped.

    1 when every comparison is a tie.
    """
    return Test(_coin(wins, losses), "sign_exact")


def sign_flip(sums: NDArray[np.float64], *, seed: int) -> Test:
    """Test whether sums of differences, one per cluster, could have any sign.

    All sign patterns for up to 12 clusters that differ at all; else 10,000 seeded ones, counting
    the observed one among them, so that p is never 0.
    """
    moved = sums[sums != 0]
    total = abs(float(moved.sum()))
    reached = total - _ROUNDING * float(np.abs(moved).sum())
    if len(moved) <= _MOST_ENUMERATED:
        signs = np.array(list(product((-1.0, 1.0), repeat=len(moved))))
        extreme = np.abs(signs @ moved) >= reached
        return Test(float(extreme.mean()), "sign_flip_exact")
    rng = np.random.default_rng(seed)
    found = 0
    at_once = max(1, _FLIPS_AT_ONCE // len(moved))
    for start in range(0, _FLIPS, at_once):
        shape = (min(at_once, _FLIPS - start), len(moved))
        signs = rng.integers(0, 2, size=shape) * 2.0 - 1.0
        found += int((np.abs(signs @ moved) >= reached).sum())
    return Test((found + 1) / (_FLIPS + 1), "sign_flip_sampled")


def _coin(heads: int, tails: int) -> float:
    if heads + tails == 0:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(heads, heads + tails, 0.5).pvalue)
