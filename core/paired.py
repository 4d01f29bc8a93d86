"""Paired comparison of two models on the same items: difference, interval and p-value.

Item difficulty affects both models alike and cancels, so the paired test detects differences that
two separate intervals would hide.
"""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from core.intervals import Interval, Z, cluster_sums, wilson

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from numpy.typing import NDArray


LEAST_CLUSTERS = 6  # of five, no two-sided sign-flip test reaches p < 5 %: 2/32
MOST_ENUMERATED = 12  # 2^12 = 4,096 sign patterns
FLIPS = 10_000
_ROUNDING = 1e-9
_BITS = 8
_HALVINGS = 60
_FEW_COMPARISONS = 5
_FEWEST_LENGTHS = 3
_TINY = 1e-300


class Comparison(NamedTuple):
    """Model A against model B on the items both have; every number is None when they share none.

    `difference` is mean A − mean B, with its 95 % interval; None: see `difference_interval`.
    `p_value` is two-sided, by `test`: "mcnemar_exact", "sign_flip_exact" or "sign_flip_sampled".
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
    scale: tuple[float, float] | None = None,
    seed: int,
) -> Comparison:
    """Compare two models' values on the items both have.

    Independent items that are right or wrong get McNemar's exact test and Tango's interval;
    everything else the sign-flip permutation test over sums of clusters (under the null hypothesis
    each cluster's difference is as likely to have the other sign) and `difference_interval`.

    Args:
        a: value of each item for model A; an item without a value is absent, not 0.
        b: the same for model B.
        clusters: which items belong together (two turns: their question), None for none.
        scale: least and greatest possible value of an item, at which it is wrong and right; None:
            unknown, unless all values are 0 or 1.
        seed: of sampled flips.

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
    n, sums = len(shared), cluster_sums(differences, labels).totals
    ends = scale or (0.0, 1.0)
    binary = {*first, *second} <= {*ends}
    step = ends[1] - ends[0] if scale is not None or binary else None
    if binary and len(sums) == n:
        gained, lost = (sum(sign * d > 0 for d in differences) for sign in (1, -1))
        test = mcnemar(gained, lost)
        interval: Interval | None = tango(gained, lost, n).scaled(ends[1] - ends[0])
    else:
        test = sign_flip(sums, seed=seed)
        interval = difference_interval(differences, labels, most=step)
    return Comparison(
        n=n,
        n_clusters=len(sums),
        n_only_a=only_a,
        n_only_b=only_b,
        mean_a=sum(first) / n,
        mean_b=sum(second) / n,
        difference=sum(differences) / n,
        interval=interval,
        p_value=test.two_sided,
        test=test.name,
    )


def tango(gained: int, lost: int, n: int) -> Interval:
    """Return the 95 % interval of (gained − lost)/n, in [−1, 1], for n > 0 paired items.

    The differences that the score test does not reject; without any gained or lost item
    ±z²/(n + z²), as Wilson's interval of none. Also for wins minus losses of n comparisons.

    Raises:
        ValueError: gained and lost items are more than n.

    Source: Tango 1998, "Equivalence test and confidence interval for the difference in proportions
    for the paired-sample design".
    """
    if not 0 <= gained + lost <= n or n == 0:
        message = f"{gained} gained and {lost} lost of {n}"
        raise ValueError(message)

    def score(difference: float) -> float:
        # The share lost, at its greatest likelihood given the difference, solves a quadratic.
        linear = (2 * n - gained + lost) * difference - gained - lost
        inner = linear * linear + 8 * n * lost * difference * (1 - difference)
        share = (math.sqrt(max(0.0, inner)) - linear) / (4 * n)
        variance = n * (2 * share + difference * (1 - difference))
        return (gained - lost - n * difference) / math.sqrt(max(variance, _TINY))

    def end(sign: int) -> float:
        # Halved between the estimate, which is not rejected, and the end of the scale.
        inside, outside = (gained - lost) / n, float(sign)
        for _ in range(_HALVINGS):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if -sign * score(middle) <= Z else (inside, middle)
        return inside

    return Interval(end(-1), end(1))


def net_interval(wins: int, losses: int, n: int) -> Interval:
    """Return the 95 % interval of (wins − losses)/n, in [−1, 1], for n > 0 comparisons.

    `tango`'s; of fewer than five comparisons, where that covers .90 at worst, Wilson's for the sum
    of preferences, in which a tie is a half.

    Raises:
        ValueError: wins and losses are more than n.
    """
    found = tango(wins, losses, n)
    share = wilson((n + wins - losses) / 2, n) if n < _FEW_COMPARISONS else None
    return found if share is None else Interval(2 * share.low - 1, 2 * share.high - 1)


def difference_interval(
    differences: Sequence[float],
    clusters: Sequence[Hashable],
    *,
    most: float | None,
) -> Interval | None:
    """Return the 95 % interval of a mean of differences of any size between −`most` and `most`.

    The normal interval with two clusters more, one gain and one loss, whose size is the greatest
    that was seen, but at least the root mean square of what may be hidden: differences of `most` in
    a share z²/(C + z²) of clusters, Wilson's bound for what none of C shows. Where nothing differs
    ± that share of `most`. If `most` is None, unknown: None where nothing differs, and for fewer
    than three clusters.

    Raises:
        ValueError: a value is not finite, or the lengths differ.

    Source: Bonett and Price 2012, whose two items more are a gain and a loss of a binary item.
    """
    totals, counts = cluster_sums(differences, clusters)
    count, size = len(counts), len(differences) / len(counts)
    hidden = Z * Z / (count + Z * Z)
    if most is None and count < _FEWEST_LENGTHS:
        return None
    if not totals.any():
        return None if most is None else Interval(-hidden * most, hidden * most)
    reach = max(float(abs(totals).max()) / size, (most or 0.0) * math.sqrt(hidden))
    middle = float(totals.sum()) / size / (count + 2)
    squares = float(np.square(totals / size - counts / size * middle).sum())
    squares += (reach - middle) ** 2 + (reach + middle) ** 2
    half = Z * math.sqrt(squares / (count + 1) / (count + 2))
    bound = math.inf if most is None else most
    return Interval(max(-bound, middle - half), min(bound, middle + half))


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
