"""Krippendorff's alpha: agreement beyond chance, for any number of raters, values may be missing.

With o_ck the coincidences of the values c and k (each pair of values in a unit of m values counts
1/(m − 1), in both directions), n_c = Σ_k o_ck, n = Σ_c n_c and a difference δ² between values:

    α = 1 − (n − 1) · Σ o_ck δ²_ck / Σ n_c n_k δ²_ck

1 is perfect agreement, 0 chance, below 0 systematic disagreement. Units with fewer than two values
are left out.

Source: Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from core.intervals import bootstrap
from core.records import Score

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import NDArray

Level = Literal["nominal", "ordinal", "interval"]

NO_PAIRS = "no item has the votes of two people"
NO_VARIATION = "all votes are the same, so nothing tells agreement from habit"


def krippendorff_alpha(
    key: str,
    units: Sequence[Sequence[float | str]],
    categories: Sequence[float | str],
    *,
    level: Level,
    seed: int,
    clusters: Sequence[Hashable] | None = None,
) -> Score:
    """Return alpha, in (−∞, 1], of the values that raters gave to units.

    It is undefined, not 1, if every value is the same: the expected disagreement is then 0 as well
    (Krippendorff: without variation there is no evidence of reliability). `n` counts units with two
    or more values, `missing` the others; detail: the number of `values` in them. The interval
    resamples clusters of units.

    Args:
        key: of the score.
        units: the values of each unit; missing ones are left out.
        categories: all possible values, for ordinal from lowest to highest.
        level: the difference of two values: "nominal" 1 if they differ, "ordinal" by the values
            between them, "interval" (numbers) the square of their distance.
        seed: of the bootstrap.
        clusters: one label per unit; units of one label (candidates of a prompt) are resampled
            together. None: each unit by itself.

    Raises:
        ValueError: a value is not a category, or the numbers of units and labels differ.
    """
    categories = list(categories)
    labels = clusters if clusters is not None else range(len(units))
    by_cluster: dict[Hashable, NDArray[np.float64]] = {}
    counted = values = 0
    for unit, label in zip(units, labels, strict=True):
        if unknown := [value for value in unit if value not in categories]:
            raise ValueError(f"{unknown[0]!r} is none of {categories}")
        if len(unit) > 1:
            # Each pair of values counts 1/(m − 1), in both directions.
            counts = np.array([unit.count(category) for category in categories], dtype=np.float64)
            pairs = (np.outer(counts, counts) - np.diag(counts)) / (len(unit) - 1)
            by_cluster[label] = by_cluster.get(label, 0) + pairs
            counted, values = counted + 1, values + len(unit)
    missing, detail = len(units) - counted, {"values": values}
    if not counted:
        return Score(key, None, 0, missing, reason=NO_PAIRS, detail=detail)
    found = list(by_cluster.values())

    def statistic(drawn: Sequence[NDArray[np.float64]]) -> float | None:
        return _alpha(np.sum(drawn, axis=0), categories, level)

    value = statistic(found)
    if value is None:
        return Score(key, None, counted, missing, reason=NO_VARIATION, detail=detail)
    low, high = bootstrap(found, statistic, seed=seed) or (None, None)
    return Score(key, value, counted, missing, low, high, detail=detail)


def _alpha(
    coincidences: NDArray[np.float64], categories: Sequence[float | str], level: Level
) -> float | None:
    """Return alpha of a coincidence matrix; None if no disagreement is to be expected."""
    totals = coincidences.sum(axis=1)
    if level == "nominal":
        squared = 1 - np.eye(len(totals))
    else:
        # Ordinal: the values between two categories, the two ends counted half, are the
        # difference of the categories' mean ranks.
        ranks = np.cumsum(totals) - totals / 2
        scale = ranks if level == "ordinal" else np.asarray(categories, dtype=np.float64)
        squared = np.square(np.subtract.outer(scale, scale))
    expected = float((np.outer(totals, totals) * squared).sum())
    if expected == 0:
        return None
    observed = float((coincidences * squared).sum())
    return 1 - (float(totals.sum()) - 1) * observed / expected
