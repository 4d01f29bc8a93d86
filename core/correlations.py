"""Rank correlations of two lists of numbers, by hand where they are short."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_BY_HAND = 16  # below this, plain loops are many times faster than scipy's overhead


def kendall_tau(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Return Kendall's tau-b in [−1, 1]: 1 same order, −1 reversed, 0 chance.

    With C pairs in the same order, D in the other, and T_x, T_y pairs not tied in x, in y:
    (C − D)/√(T_x · T_y). Without ties that is 2·C/(C + D) − 1.

    Source: Kendall 1945; scipy.stats.kendalltau above a few values.
    """
    if not _varies(x) or not _varies(y):
        return None
    if len(x) > _BY_HAND:
        from scipy.stats import kendalltau

        return float(kendalltau(x, y).statistic)
    agreeing = untied_x = untied_y = 0
    for i in range(len(x)):
        for j in range(i):
            by_x, by_y = _sign(x[i] - x[j]), _sign(y[i] - y[j])
            agreeing += by_x * by_y
            untied_x += by_x != 0
            untied_y += by_y != 0
    return agreeing / math.sqrt(untied_x * untied_y)


def spearman(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Return Spearman's rho in [−1, 1], the correlation of the ranks, tied ones averaged.

    Source: Spearman 1904; scipy.stats.spearmanr above a few values.
    """
    if not _varies(x) or not _varies(y):
        return None
    if len(x) > _BY_HAND:
        from scipy.stats import spearmanr

        return float(spearmanr(x, y).statistic)
    ranks_x, ranks_y = _centred_ranks(x), _centred_ranks(y)
    covariance = sum(a * b for a, b in zip(ranks_x, ranks_y, strict=True))
    return covariance / math.sqrt(sum(a * a for a in ranks_x) * sum(b * b for b in ranks_y))


def _varies(values: Sequence[float]) -> bool:
    return len(set(values)) > 1


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


def _centred_ranks(values: Sequence[float]) -> list[float]:
    """Return how many values are below minus how many are above: twice the rank around its mean."""
    return [float(sum(_sign(value - other) for other in values)) for value in values]
