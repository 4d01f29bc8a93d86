"""Confidence intervals that are honest at every n, and standard errors of clustered items.

One interval per kind of number, each with a width at every n, also where all values are equal
(their measured coverage: docs/coverage.md, from benchmarks/coverage.py):

    share of independent items, win rate          `wilson`, `share_score`
    share or graded mean of items in clusters     `ratio_interval`, `mean_interval`
    mean over tasks or subjects                   `average_interval`
    mean of lengths                               `length_interval`
    correlation, agreement of raters              `correlation_interval`
    difference of two models on the same items    core.paired

Items that belong together (two turns of one question, all replies to one instruction) are one
cluster: taken for independent they would count one observation twice. No interval is resampled:
of a few items, or of equal values, resamples say that the future is the past.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from core.records import Score

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from numpy.typing import NDArray

T = TypeVar("T")

LEVEL = 0.95
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)
_FEW = 3  # successes, below which the lower end is Poisson's
# What is assumed beside the clusters at hand: six that are each all right or all wrong. With six
# the coverage is at least .93 for every size and correlation that was simulated; with none .83.
_ASSUMED = 6
_ROUNDING = 1e-12  # of a variance of values in [0, 1]
_LEAST_FOR_CORRELATION = 4  # of three clusters any order is likely


class Interval(NamedTuple):
    """A confidence interval; `low` ≤ `high`, both finite."""

    low: float
    high: float

    def scaled(self, factor: float) -> Interval:
        """Return both ends times a factor > 0."""
        return Interval(factor * self.low, factor * self.high)


class Sums(NamedTuple):
    """Per cluster: the sum of its values and how many there are."""

    totals: NDArray[np.float64]
    counts: NDArray[np.float64]


def wilson(successes: float, n: float) -> Interval | None:
    """Return Wilson's 95 % score interval of a share, inside [0, 1]; None for n = 0.

    It has a width when all or none succeed. With one or two successes the lower end is lowered to
    Poisson's, and with one or two failures the upper end is raised: without that the coverage of a
    share of 3 % is .86 at n = 5. Preferences between 0 and 1 and half successes (ties) are allowed:
    their variance is smaller than that of whole ones, so the interval is on the safe side.

    Raises:
        ValueError: not 0 ≤ successes ≤ n.

    Source: Wilson 1927; Brown, Cai, DasGupta 2001, "Interval Estimation for a Binomial
    Proportion", section 4.1.1 (there called modified Wilson).
    """
    if not 0 <= successes <= n:
        message = f"{successes} successes of {n}"
        raise ValueError(message)
    if n == 0:
        return None
    share, shrink = successes / n, 1 + Z * Z / n
    middle = (share + Z * Z / (2 * n)) / shrink
    half = Z / shrink * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    low = min(middle - half, _poisson(successes) / n)
    high = max(middle + half, 1 - _poisson(n - successes) / n)
    return Interval(0.0 if successes == 0 else low, 1.0 if successes == n else high)


def _poisson(count: float) -> float:
    """Return the mean of which `count` or more are seen with probability 5 %; ∞ for no few."""
    if not 0 < count < _FEW:
        return math.inf
    from scipy.special import gammaincinv

    return float(gammaincinv(count, 1 - LEVEL))


def share_score(
    key: str,
    hits: float,
    n: int,
    missing: int = 0,
    *,
    scale: float = 100.0,
    reason: str = "nothing to measure",
    detail: dict[str, Any] | None = None,
) -> Score:
    """Return scale · hits/n with Wilson's interval as a score; without a value for n = 0.

    Raises:
        ValueError: not 0 ≤ hits ≤ n.
    """
    interval = wilson(hits, n)
    if interval is None:
        return Score(key, None, 0, missing, reason=reason, detail=detail)
    return Score(key, scale * hits / n, n, missing, *interval.scaled(scale), detail=detail)


def mean_interval(
    values: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    *,
    scale: tuple[float, float],
) -> Interval | None:
    """Return the 95 % interval of a mean of values on a scale, inside it; None without values.

    Wilson's, for the number n of items worth as much as these if every item were all or nothing:

        n = N² / Σ m (1 + (m − 1) ρ) / k

    with N items in clusters of m, ρ the correlation inside clusters (Fleiss and Cuzick), and k the
    variance of the values as a share of the greatest that their mean allows. Few clusters say
    little about ρ and k, so six more are assumed in which both are 1. Values of 0 and 1, each by
    itself: `wilson`. Equal values: as if every cluster were one item.

    Args:
        values: finite numbers; missing items are left out (and counted) by the caller.
        clusters: one label per value; None makes every value its own cluster.
        scale: least and greatest possible value; values outside widen it.

    Raises:
        ValueError: a value is not finite, or the lengths differ.

    Source: Korn and Graubard 1998 for the effective number of items; Fleiss and Cuzick 1979.
    """
    if not values:
        return None
    low, high = min(scale[0], *values), max(scale[1], *values)
    shares = [(value - low) / (high - low) for value in values]
    totals, counts = cluster_sums(shares, clusters)
    squares = cluster_sums([share * share for share in shares], clusters).totals
    found = _of_shares(totals, squares, counts)
    return Interval(low + (high - low) * found.low, low + (high - low) * found.high)


def ratio_interval(numerators: Sequence[float], denominators: Sequence[float]) -> Interval | None:
    """Return the 95 % interval of the share Σ numerators / Σ denominators over clusters.

    As `mean_interval`, given per cluster how many of how many are right: pairs in the right order
    and pairs compared of an instruction. Halves count as half right. Clusters without anything to
    count are left out; None if there are no others.

    Raises:
        ValueError: not 0 ≤ numerator ≤ denominator, or the lengths differ.
    """
    above, below = _finite(numerators), _finite(denominators)
    if len(above) != len(below) or (above < 0).any() or (above > below).any():
        message = "one numerator per cluster, of 0 to its denominator"
        raise ValueError(message)
    above, below = above[below > 0], below[below > 0]
    return _of_shares(above, above, below) if len(below) else None


def _of_shares(
    totals: NDArray[np.float64], squares: NDArray[np.float64], counts: NDArray[np.float64]
) -> Interval:
    """Return `mean_interval` of values in [0, 1], given their sums and sums of squares."""
    size, clusters = float(counts.sum()), len(counts)
    mean = min(1.0, float(totals.sum()) / size)
    variance, most = float(squares.sum()) / size - mean * mean, mean * (1 - mean)
    spread = inside = 1.0
    if variance > _ROUNDING:
        spread = min(1.0, variance / most * clusters / max(1, clusters - 1))
        if size > clusters:
            within = float((squares - totals * totals / counts).sum())
            inside = min(1.0, max(0.0, 1 - within / ((size - clusters) * variance)))
    spread, inside = (
        (clusters * found + _ASSUMED) / (clusters + _ASSUMED) for found in (spread, inside)
    )
    n = size * size / float((counts * (1 + (counts - 1) * inside)).sum()) / spread
    found = wilson(mean * n, n)
    return found if found is not None else Interval(0.0, 1.0)


def average_interval(
    shares: Sequence[float], sizes: Sequence[int], stderr: float | None
) -> Interval | None:
    """Return the 95 % interval of the mean of shares, each in [0, 1], of so many items each.

    Wilson's for k² / Σ 1/n items (Kish's effective number for weights of 1/(k n)), or for as many
    as have the standard error, whichever are fewer; of few items all right or wrong the error is 0.

    Raises:
        ValueError: the mean is below 0.
    """
    if not shares:
        return None
    n = len(sizes) ** 2 / math.fsum(1 / size for size in sizes)
    mean = math.fsum(shares) / len(shares)
    if stderr and 0 < mean < 1:
        n = min(n, mean * (1 - mean) / stderr**2)
    return wilson(min(n, mean * n), n)


def length_interval(
    values: Sequence[float], clusters: Sequence[Hashable] | None = None
) -> Interval | None:
    """Return the 95 % interval of a mean of positive values without an upper bound: lengths.

    mean · exp(±t · error / mean), since lengths are skewed, with Student's t for the clusters and
    an error that counts the greatest deviation three times, since the longest answer may not have
    been seen yet. None with fewer than two clusters, and where all lengths are equal, which leaves
    nothing to estimate an error from.

    Raises:
        ValueError: a value is not finite, or the lengths differ.
    """
    totals, counts = cluster_sums(values, clusters)
    mean = float(totals.sum() / counts.sum()) if values else 0.0
    squares = np.square(totals - counts * mean)
    if len(counts) < 2 or mean <= 0 or not squares.any():  # noqa: PLR2004 - one does not vary
        return None
    again = len(counts) / (len(counts) + 1) * float(squares.sum() + 2 * squares.max())
    error = math.sqrt(again) / float(counts.sum())
    factor = math.exp(student(len(counts) - 1) * error / mean)
    return Interval(mean / factor, mean * factor)


def student(df: int, level: float = 1 - LEVEL) -> float:
    """Return how many standard errors Student's t exceeds, on either side, with chance `level`."""
    from scipy.special import stdtrit

    return -float(stdtrit(df, level / 2))


def correlation_interval(
    clusters: Sequence[T], statistic: Callable[[Sequence[T]], float | None]
) -> Interval | None:
    """Return the 95 % interval of a correlation in [−1, 1] of a list of clusters.

    On Fisher's scale, where the variance is the jackknife's over clusters. Few clusters say little
    about it, so six are assumed beside them that have the variance of as many independent items.
    A correlation of ±1 counts as one exchanged pair of neighbours less. None with fewer than four
    clusters, and where leaving out one makes the statistic undefined.

    Raises:
        ValueError: the statistic returned a number that is not finite.

    Source: Bonett and Wright 2000 for the variance (1 + r²/2)/(n − 3) of Spearman's correlation.
    """
    count = len(clusters)
    if count < _LEAST_FOR_CORRELATION:
        return None
    found = [
        statistic(clusters),
        *(statistic([*clusters[:at], *clusters[at + 1 :]]) for at in range(count)),
    ]
    known = [value for value in found if value is not None]
    if len(known) < len(found):
        return None
    most = 1 - 12 / (count * (count * count - 1))
    value, *others = np.arctanh(np.clip(_finite(known), -most, most))
    jackknife = (count - 1) * float(np.var(others))
    independent = (1 + math.tanh(value) ** 2 / 2) / (count - 3)
    half = Z * math.sqrt((count * jackknife + _ASSUMED * independent) / (count + _ASSUMED))
    low, high = math.tanh(value - half), math.tanh(value + half)
    return Interval(min(low, known[0]), max(high, known[0]))


def clustered_stderr(
    values: Sequence[float], clusters: Sequence[Hashable] | None = None
) -> float | None:
    """Return the standard error of a mean whose items come in clusters; None for fewer than two.

    √(C/(C − 1) · Σ_c (Σ_i (x_ic − x̄))²) / n, for C clusters and n items. Every item its own
    cluster: the usual s/√n. The same items twice in the same clusters: unchanged.

    Raises:
        ValueError: a value is not finite, or the lengths differ.

    Source: the sandwich formula of Miller 2024, "Adding Error Bars to Evals", section 2.2, with the
    factor C/(C − 1) for few clusters (as inspect_ai has it).
    """
    sums = cluster_sums(values, clusters)
    count, n = len(sums.counts), len(values)
    if count < 2:  # noqa: PLR2004 - one cluster does not vary
        return None
    deviations = sums.totals - sums.counts * (sums.totals.sum() / n)
    return float(np.sqrt(count / (count - 1) * np.square(deviations).sum()) / n)


def cluster_sums(values: Sequence[float], clusters: Sequence[Hashable] | None = None) -> Sums:
    """Return sum and size of each cluster, in order of first appearance.

    Raises:
        ValueError: a value is not finite, or the lengths differ.
    """
    numbers = _finite(values)
    if clusters is None:
        return Sums(numbers, np.ones(len(numbers)))
    if len(clusters) != len(numbers):
        message = f"{len(numbers)} values but {len(clusters)} cluster labels"
        raise ValueError(message)
    places: dict[Hashable, int] = {}
    index = np.array([places.setdefault(c, len(places)) for c in clusters], dtype=np.intp)
    size = len(places)
    return Sums(
        np.bincount(index, weights=numbers, minlength=size).astype(np.float64),
        np.bincount(index, minlength=size).astype(np.float64),
    )


def _finite(values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    numbers = np.asarray(values, dtype=np.float64)
    if not np.isfinite(numbers).all():
        message = "a value is not finite: leave missing items out and count them"
        raise ValueError(message)
    return numbers
