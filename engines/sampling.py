"""Nucleus sampling by inverse transform: one uniform number per row and step decides the token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

# Enough for top-p 0.9 of most chat-model distributions; rows that need more get a full sort.
_HEAD = 256


def uniforms(seeds: Sequence[int], steps: int) -> torch.Tensor:
    """Return float64 numbers in [0, 1), shape (rows, steps): row i depends on seeds[i] alone."""
    rows = [np.random.Generator(np.random.Philox(key=seed)).random(steps) for seed in seeds]
    return torch.from_numpy(np.stack(rows))


def nucleus_sample(
    logits: torch.Tensor, uniform: torch.Tensor, *, temperature: float, top_p: float
) -> torch.Tensor:
    """Return one token id per row, shape (rows,).

    The nucleus is the smallest set of most probable tokens whose mass reaches `top_p`; within it
    the cumulative distribution runs in order of token id, so that a rounding difference between
    two equally likely tokens does not change which one a uniform number selects.

    Args:
        logits: shape (rows, vocabulary), any float dtype.
        uniform: shape (rows,), numbers in [0, 1); not used at temperature 0.
        temperature: 0 is greedy (ties: the lowest id).
        top_p: nucleus mass in (0, 1].
    """
    if temperature == 0:
        return logits.argmax(dim=-1)
    scaled = logits.float() / temperature
    log_total = torch.logsumexp(scaled, dim=-1, keepdim=True)
    width = min(_HEAD, scaled.shape[-1])
    values, ids = torch.topk(scaled, width, dim=-1)
    probabilities = (values - log_total).exp()
    chosen = _draw(probabilities, ids, uniform, top_p)
    short = probabilities.sum(dim=-1) < top_p
    if width < scaled.shape[-1] and bool(short.any()):
        values, ids = torch.sort(scaled[short], dim=-1, descending=True)
        probabilities = (values - log_total[short]).exp()
        chosen[short] = _draw(probabilities, ids, uniform[short], top_p)
    return chosen


def _draw(
    probabilities: torch.Tensor, ids: torch.Tensor, uniform: torch.Tensor, top_p: float
) -> torch.Tensor:
    """Draw from descending `probabilities` cut to the nucleus and renormalised."""
    mass_before = probabilities.cumsum(dim=-1) - probabilities
    inside = torch.where(mass_before < top_p, probabilities, 0.0).double()
    ids, order = ids.sort(dim=-1)
    cumulative = inside.gather(-1, order).cumsum(dim=-1)
    target = uniform.to(cumulative.device)[:, None] * cumulative[:, -1:]
    place = (cumulative <= target).sum(dim=-1, keepdim=True).clamp(max=ids.shape[-1] - 1)
    return ids.gather(-1, place)[:, 0]
