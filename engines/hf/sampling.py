"""Nucleus sampling by inverse transform: one uniform number per row and step decides the token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

# How many of the most probable tokens are sorted: the first number covers the nucleus of most
# chat-model distributions; rows that need more get the next one, and in the end all tokens.
_HEADS = (64, 256, 4096)
# Rows that are sampled together on a CPU: their float32 copies stay in its cache.
_ROWS = 8
_BLOCK = 64  # tokens of which only the largest is looked at first


def uniforms(seeds: Sequence[int], steps: int) -> torch.Tensor:
    """Return float64 numbers in [0, 1), shape (rows, steps): row i depends on seeds[i] alone."""
    rows = [np.random.Generator(np.random.Philox(key=seed)).random(steps) for seed in seeds]
    return torch.from_numpy(np.stack(rows))


def nucleus_sample(
    logits: torch.Tensor, uniform: torch.Tensor, *, temperature: float | torch.Tensor, top_p: float
) -> torch.Tensor:
    """Return one token id per row, shape (rows,).

    The nucleus is the smallest set of most probable tokens whose mass reaches `top_p`; within it
    the cumulative distribution runs in order of token id, so that a rounding difference between
    two equally likely tokens does not change which one a uniform number selects.

    Args:
        logits: shape (rows, vocabulary), any float dtype.
        uniform: shape (rows,), numbers in [0, 1); not used at temperature 0.
        temperature: of all rows, or one each, shape (rows,); 0 is greedy (ties: the lowest id).
        top_p: nucleus mass in (0, 1].
    """
    temperature = torch.as_tensor(temperature, dtype=torch.float32, device=logits.device)
    temperature = temperature.expand(len(logits))
    if logits.device.type == "cpu" and len(logits) > _ROWS:
        tiles = zip(*(part.split(_ROWS) for part in (logits, uniform, temperature)), strict=True)
        return torch.cat(
            [nucleus_sample(one, drawn, temperature=t, top_p=top_p) for one, drawn, t in tiles]
        )
    sampled = temperature > 0  # the other rows are greedy
    if not bool(sampled.any()):
        return logits.argmax(dim=-1)
    if bool(sampled.all()):
        return _sample(logits.float() / temperature[:, None], uniform, top_p)
    chosen = logits.argmax(dim=-1)
    scaled = logits[sampled].float() / temperature[sampled, None]
    chosen[sampled] = _sample(scaled, uniform[sampled.cpu()], top_p)
    return chosen


def _sample(scaled: torch.Tensor, uniform: torch.Tensor, top_p: float) -> torch.Tensor:
    """Draw from float32 logits, sorting no more tokens than the nuclei need."""
    vocabulary = scaled.shape[-1]
    log_total = torch.logsumexp(scaled, dim=-1, keepdim=True)
    if top_p >= 1:  # every token is in the nucleus: nothing to sort
        return _place((scaled - log_total).exp().double(), uniform)[:, 0]
    chosen = torch.zeros(len(scaled), dtype=torch.long, device=scaled.device)
    rows = torch.arange(len(scaled), device=scaled.device)
    for width in (*(head for head in _HEADS if head < vocabulary), vocabulary):
        values, ids = _largest(scaled[rows], width)
        probabilities = (values - log_total[rows]).exp()
        enough = (probabilities.sum(dim=-1) >= top_p) | (width == vocabulary)
        if bool(enough.any()):
            some = rows[enough]
            chosen[some] = _draw(probabilities[enough], ids[enough], uniform[some.cpu()], top_p)
        rows = rows[~enough]
        if not len(rows):
            break
    return chosen


def _largest(scaled: torch.Tensor, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each row's `width` largest numbers, descending, and where they are.

    They lie in the `width` blocks with the largest maxima, so few numbers are compared.
    """
    blocks = scaled.shape[1] // _BLOCK
    if 2 * width > blocks:
        values, ids = torch.topk(scaled, width, dim=-1)
        return values, ids
    whole = blocks * _BLOCK
    maxima = scaled[:, :whole].unflatten(1, (blocks, _BLOCK)).amax(dim=-1)
    first = maxima.topk(width, dim=-1, sorted=False).indices * _BLOCK
    within = torch.arange(_BLOCK, device=scaled.device)
    rest = torch.arange(whole, scaled.shape[1], device=scaled.device).expand(len(scaled), -1)
    looked_at = torch.cat([(first[:, :, None] + within).flatten(1), rest], dim=1)
    values, places = scaled.gather(1, looked_at).topk(width, dim=-1)
    return values, looked_at.gather(1, places)


def _draw(
    probabilities: torch.Tensor, ids: torch.Tensor, uniform: torch.Tensor, top_p: float
) -> torch.Tensor:
    """Draw from descending `probabilities` cut to the nucleus and renormalised."""
    mass_before = probabilities.cumsum(dim=-1) - probabilities
    inside = torch.where(mass_before < top_p, probabilities, 0.0).double()
    ids, order = ids.sort(dim=-1)
    return ids.gather(-1, _place(inside.gather(-1, order), uniform))[:, 0]


def _place(weights: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """Return where each row's number falls in the cumulative weights (float64), shape (rows, 1)."""
    cumulative = weights.cumsum(dim=-1)
    target = uniform.to(cumulative.device)[:, None] * cumulative[:, -1:]
    return (cumulative <= target).sum(dim=-1, keepdim=True).clamp(max=weights.shape[-1] - 1)
