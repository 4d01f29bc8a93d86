"""Strengths of the Bradley-Terry model from a matrix of battles, by maximum likelihood."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# Keeps the strengths of one that never loses finite, and the mean of all at 0. Where the maximum is
# finite without it, strengths differ by about as much.
_RIDGE = 1e-6
_MOST_STEPS = 200
_CONVERGED = 1e-9


def strengths(battles: Sequence[Sequence[float]]) -> list[float]:
    """Return the strengths ε that maximise Σ B[m][n]·log σ(ε_m − ε_n); their mean is 0.

    `battles`: B[m][n] ≥ 0 is the weight of m's wins against n. One without any battle has 0.
    """
    wins = np.asarray(battles, dtype=float)
    found = np.zeros(len(wins))
    best = _likelihood(wins, found)
    for _ in range(_MOST_STEPS):
        step = _newton_step(wins, found)
        size = 1.0
        while (reached := _likelihood(wins, found + size * step)) < best and size > _CONVERGED:
            size /= 2
        if reached <= best:
            break
        found, best = found + size * step, reached
        if np.abs(size * step).max(initial=0.0) < _CONVERGED:
            break
    return [float(strength) for strength in found - found.mean()] if len(found) else []


def _likelihood(wins: NDArray[np.float64], strength: NDArray[np.float64]) -> float:
    gaps = strength[:, None] - strength[None, :]
    return float(-(wins * np.logaddexp(0.0, -gaps)).sum() - _RIDGE / 2 * (strength**2).sum())


def _newton_step(wins: NDArray[np.float64], strength: NDArray[np.float64]) -> NDArray[np.float64]:
    gaps = strength[:, None] - strength[None, :]
    chance = 1 / (1 + np.exp(-np.clip(gaps, -500, 500)))  # that the row's one wins
    both = wins + wins.T
    gradient = (wins - both * chance).sum(axis=1) - _RIDGE * strength
    curvature = both * chance * (1 - chance)
    hessian = curvature - np.diag(curvature.sum(axis=1) + _RIDGE)
    step: NDArray[np.float64] = -np.linalg.solve(hessian, gradient)
    return step
