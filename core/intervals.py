"""Confidence intervals and standard errors: bootstrap, Wilson, clustered.

Items that belong together (two turns of one question, both orders of one prompt, all replies to one
instruction) are one cluster: resampling them separately would count one observation twice and make
the interval too narrow.
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

_LEVEL = 0.95
_RESAMPLES = 2000
_DRAWS_AT_ONCE = 1 << 21
_LEAST_DEFINED = 0.9


class Interval(NamedTuple):
    """A confidence interval; `low` ≤ `high`, both finite."""

    low: float
    high: float


class Sums(NamedTuple):
    """Per cluster: the sum of its values and how many there are."""

    totals: NDArray[np.float64]
    counts: NDArray[np.float64]


def bootstrap_mean(
    values: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    *,
    seed: int,
) -> Interval | None:
    """Return the 95 % percentile-bootstrap interval of a mean, resampling whole clusters.

    The mean of a resample is its sum over its count, so clusters of different sizes keep their
    weight. Same values, clusters and seed: same interval, bit for bit. None with fewer than two
    clusters; of width 0 when all values are equal.

    Args:
        values: finite numbers; missing items are left out (and counted) by the caller.
        clusters: one label per value; None makes every value its own cluster.
        seed: of the resampling.

    Raises:
        ValueError: a value is not finite, or the lengths differ.
    """
    sums = cluster_sums(values, clusters)
    return bootstrap_ratio(sums.totals, sums.counts, seed=seed)


def bootstrap_ratio(
    numerators: Sequence[float] | NDArray[np.float64],
    denominators: Sequence[float] | NDArray[np.float64],
    *,
    seed: int,
) -> Interval | None:
    """Return the 95 % percentile-bootstrap interval of Σ numerators / Σ denominators over clusters.

    One number of each per cluster: pairs ordered rightly and pairs compared in an instruction.
    Clusters whose denominator is 0 have nothing to say and are left out; None with fewer than two
    others.

    Raises:
        ValueError: a number is not finite, a denominator is negative, or the lengths differ.
    """
    above, below = _finite(numerators), _finite(denominators)
    if len(above) != len(below) or (below < 0).any():
        message = "one numerator and one denominator ≥ 0 per cluster"
        raise ValueError(message)
    above, below = above[below > 0], below[below > 0]
    count = len(below)
    if count < 2:  # noqa: PLR2004 - one cluster does not vary
        return None
    rng = np.random.default_rng(seed)
    ratios = []
    at_once = max(1, _DRAWS_AT_ONCE // count)
    for start in range(0, _RESAMPLES, at_once):
        drawn = rng.integers(0, count, size=(min(at_once, _RESAMPLES - start), count))
        ratios.append(above[drawn].sum(axis=1) / below[drawn].sum(axis=1))
    return _percentiles(np.concatenate(ratios))


def bootstrap(
    clusters: Sequence[T],
    statistic: Callable[[Sequence[T]], float | None],
    *,
    seed: int,
    resamples: int = 1000,
) -> Interval | None:
    """Return the 95 % percentile-bootstrap interval of any statistic of a list of clusters.

    `statistic` gets the drawn clusters, some more than once, and returns None where it is undefined
    (a correlation with a constant). Such resamples are left out; None when they are more than one
    in ten, since what is left would not stand for the data, or with fewer than two clusters.

    Raises:
        ValueError: the statistic returned a number that is not finite.
    """
    if len(clusters) < 2:  # noqa: PLR2004 - one cluster does not vary
        return None
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(resamples):
        drawn = rng.integers(0, len(clusters), size=len(clusters)).tolist()
        value = statistic([clusters[at] for at in drawn])
        if value is not None:
            found.append(value)
    if len(found) < _LEAST_DEFINED * resamples:
        return None
    return _percentiles(_finite(found))


def wilson(successes: float, n: int) -> Interval | None:
    """Return Wilson's 95 % score interval of a share, inside [0, 1]; None for n = 0.

    Unlike the bootstrap it has a width when all or none succeed. Half successes (ties) are allowed:
    their true variance is smaller, so the interval is then on the safe side.

    Raises:
        ValueError: not 0 ≤ successes ≤ n.

    Source: Wilson 1927.
    """
    if not 0 <= successes <= n:
        message = f"{successes} successes of {n}"
        raise ValueError(message)
    if n == 0:
        return None
    z = NormalDist().inv_cdf((1 + _LEVEL) / 2)
    share, shrink = successes / n, 1 + z * z / n
    middle = (share + z * z / (2 * n)) / shrink
    half = z / shrink * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else middle - half
    return Interval(low, 1.0 if successes == n else middle + half)


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
    low, high = scale * interval.low, scale * interval.high
    return Score(key, scale * hits / n, n, missing, low, high, detail=detail)


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


def _percentiles(found: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(found, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Interval(float(low), float(high))
