"""Krippendorff's alpha: agreement beyond chance, for any number of raters, values may be missing.

With o_ck the coincidences of the values c and k (each pair of values in a unit of m values counts
1/(m − 1), in both directions), n_c = Σ_k o_ck, n = Σ_c n_c and a difference δ² between values:

    α = 1 − (n − 1) · Σ o_ck δ²_ck / Σ n_c n_k δ²_ck

1 is perfect agreement, 0 chance, below 0 systematic disagreement. Units with fewer than two values
are left out.

Source: Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability".
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

from core.intervals import ratio_interval
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
    clusters: Sequence[Hashable] | None = None,
) -> Score:
    """Return alpha, in (−∞, 1], of the values that raters gave to units.

    It is undefined, not 1, if every value is the same: the expected disagreement is then 0 as well
    (Krippendorff: without variation there is no evidence of reliability). `n` counts units with two
    or more values, `missing` the others; detail: the number of `values` in them. The interval
    is that of the observed disagreement, a share of the greatest possible one over clusters of
    units, with the expected one as it is.

    Args:
        key: of the score.
        units: the values of each unit; missing ones are left out.
        categories: all possible values, for ordinal from lowest to highest.
        level: the difference of two values: "nominal" 1 if they differ, "ordinal" by the values
            between them, "interval" (numbers) the square of their distance.
        clusters: one label per unit; units of one label (candidates of a prompt) are one
            cluster. None: each unit by itself.

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
    totals = np.sum(found, axis=0).sum(axis=1)
    apart = _differences(totals, categories, level)
    expected = float((np.outer(totals, totals) * apart).sum()) / (values * (values - 1))
    if expected == 0:
        return Score(key, None, counted, missing, reason=NO_VARIATION, detail=detail)
    most, size = float(apart.max()), values / counted  # a unit counts once, however many values
    disagreed = [float((one * apart).sum()) / most / size for one in found]
    share = ratio_interval(disagreed, [float(one.sum()) / size for one in found])
    low, high = share or (0.0, 1.0)
    value = 1 - math.fsum(disagreed) / counted * most / expected
    worst, best = (1 - end * most / expected for end in (high, low))
    return Score(key, value, counted, missing, worst, best, detail=detail)


def _differences(
    totals: NDArray[np.float64], categories: Sequence[float | str], level: Level
) -> NDArray[np.float64]:
    """Return the squared difference of every two categories, of which there are `totals`."""
    if level == "nominal":
        return 1 - np.eye(len(totals))
    # Ordinal: the values between two categories, the two ends counted half, are the difference of
    # the categories' mean ranks.
    ranks = np.cumsum(totals) - totals / 2
    scale = ranks if level == "ordinal" else np.asarray(categories, dtype=np.float64)
    return np.square(np.subtract.outer(scale, scale))
