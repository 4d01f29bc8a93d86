"""Several seeds of one setting: means over runs, and paired differences of two settings.

Two things vary between a result and the next one like it: the run (another seed trains another
model) and the items (other prompts). A run's own interval knows the second only, the spread of the
runs the first only. docs/decisions/046-over-seeds.md says what is combined how, and why.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from core.intervals import LEVEL, Interval, cluster_sums, student

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from numpy.typing import NDArray

_TWO = 2
_ROUNDING = 1e-12
_LEAST_P = 1e-12
_HALVINGS = 60


class OverSeeds(NamedTuple):
    """A number of several runs: its mean, the standard deviation of the runs, and of how many.

    `interval` is the 95 % interval of the mean for other seeds on the same items; None where runs
    are equal, which leaves nothing to estimate an error from, and, like `spread`, of one run.
    """

    n: int
    mean: float
    spread: float | None
    interval: Interval | None


class SeedDifference(NamedTuple):
    """The difference of two settings over the seeds and items that both have.

    `difference` is mean A − mean B, `interval` its 95 % interval for other seeds and other items,
    `p_value` two-sided: the level at which the interval would end at 0. Both are None where nothing
    varies. `spread`: the standard deviation of the seeds' differences. `n` counts the items (0: the
    number is no mean over items), `n_seeds` the seeds.
    """

    n: int
    n_seeds: int
    difference: float
    spread: float
    interval: Interval | None
    p_value: float | None


class _Error(NamedTuple):
    """A part of the variance of a mean, and the degrees of freedom it is estimated with."""

    variance: float
    df: int


def over_seeds(values: Sequence[float], scale: tuple[float, float] | None = None) -> OverSeeds:
    """Return the mean of one value per run, with Student's interval over runs.

    `scale`: bounds of the value, inside which the interval is kept.

    Raises:
        ValueError: there is no value, or one is not finite.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if not numbers.size or not np.isfinite(numbers).all():
        raise ValueError("over_seeds: give finite values of at least one run")
    mean, n = float(numbers.mean()), len(numbers)
    if n < _TWO:
        return OverSeeds(n, mean, None, None)
    spread = float(numbers.std(ddof=1))
    if spread <= _ROUNDING * max(1.0, abs(mean)):
        return OverSeeds(n, mean, 0.0, None)
    half = student(n - 1) * spread / math.sqrt(n)
    low, high = scale or (-math.inf, math.inf)
    return OverSeeds(n, mean, spread, Interval(max(low, mean - half), min(high, mean + half)))


def seeds_apart(differences: Sequence[float]) -> SeedDifference:
    """Compare by one difference per seed alone, for numbers that are no mean over items.

    The items, which all seeds share, count as fixed. Raises as `over_seeds`; ValueError also for
    fewer than two seeds.
    """
    found = over_seeds(differences)
    if found.spread is None:
        raise ValueError("seeds_apart: one seed shows no spread")
    error = _Error(found.spread**2 / found.n, found.n - 1)
    return _difference(0, found.n, found.mean, found.spread, [error])


def paired_seeds(
    a: Sequence[Mapping[str, float]],
    b: Sequence[Mapping[str, float]],
    *,
    clusters: Mapping[str, Hashable] | None = None,
) -> SeedDifference | None:
    """Compare two settings, paired by item within each seed, over seeds and items alike.

    With d(s, c) the difference of seed s on cluster c (an item, or items that belong together), of
    S seeds and C clusters, in two-way analysis of variance with both at random, the variance of the
    mean has two parts: MS_seeds/(S C), which holds what seeds and single answers vary, and
    (MS_clusters − MS_rest)/(S C), what the clusters differ in alike for all seeds. Half the
    interval is the root of the sum of squares of Student's half-widths of the two, with S − 1 and
    C − 1 degrees of freedom. One t for the sum (Satterthwaite) covers .88 to .93 at two and three
    seeds.

    Args:
        a: per seed, the value of each item.
        b: the same of the other setting, seed by seed.
        clusters: which items belong together (two turns: their question), None for none.

    Returns:
        None if there are fewer than two seeds, or no item that all of `a` and `b` have.

    Raises:
        ValueError: the seeds are not as many, or a value is not finite.

    Source: Searle, Casella, McCulloch 1992, "Variance Components", for the mean squares; Howe 1974
    for half-widths added as squares.
    """
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} seeds: give each seed of both settings")
    if len(a) < _TWO:
        return None
    shared = [item for item in a[0] if all(item in values for values in (*a, *b))]
    if not shared:
        return None
    labels = [clusters[item] for item in shared] if clusters is not None else None
    rows = []
    for one, other in zip(a, b, strict=True):
        sums = cluster_sums([one[item] - other[item] for item in shared], labels)
        rows.append(sums.totals * (len(sums.counts) / len(shared)))  # their mean is the items'
    return _two_way(np.array(rows), len(shared))


def _two_way(d: NDArray[np.float64], n: int) -> SeedDifference:
    """Compare by differences of shape (seeds, clusters) of `n` items."""
    seeds, count = d.shape
    mean, spread = float(d.mean()), float(d.mean(axis=1).std(ddof=1))
    errors = [_Error(spread**2 / seeds, seeds - 1)]
    if count > 1:
        of_clusters = seeds * float(d.mean(axis=0).var(ddof=1))
        rest = d - d.mean(axis=0) - d.mean(axis=1, keepdims=True) + mean
        of_rest = float(np.square(rest).sum()) / ((seeds - 1) * (count - 1))
        errors.append(_Error(max(0.0, of_clusters - of_rest) / d.size, count - 1))
    return _difference(n, seeds, mean, spread, errors)


def _difference(
    n: int, seeds: int, mean: float, spread: float, errors: Sequence[_Error]
) -> SeedDifference:
    half = _half(errors, 1 - LEVEL)
    if half <= _ROUNDING * max(1.0, abs(mean)):
        return SeedDifference(n, seeds, mean, spread, None, None)
    interval = Interval(mean - half, mean + half)
    return SeedDifference(n, seeds, mean, spread, interval, _level(errors, abs(mean)))


def _half(errors: Sequence[_Error], level: float) -> float:
    """Return half the width of the interval that misses the true value with chance `level`."""
    return math.sqrt(sum(student(e.df, level) ** 2 * e.variance for e in errors))


def _level(errors: Sequence[_Error], distance: float) -> float:
    """Return the level whose interval has half the width `distance`: the p-value."""
    low, high = math.log(_LEAST_P), 0.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _half(errors, math.exp(middle)) > distance else (low, middle)
    return math.exp(high)
