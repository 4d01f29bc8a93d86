"""Attention over keys and values stored in several places, computed part by part and joined.

Softmax over a union of keys is the mean of the softmax over each part, weighted by each part's
share of the total mass, exp(mass_part - mass_total). So rows that share a prefix attend to one copy
of its keys, all in one matrix product, and to their own keys separately; the result is exact. (The
same identity underlies FlashAttention's blocks, Dao et al. 2022, section 3.1, and Hydragen,
Juravsky et al. 2024, section 3.1.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence


# Scores that exist at the same time: 268 MB in float32, and as much again for what is made of them.
_SCORES = 2**26


class Part(NamedTuple):
    """Attention over some of the keys.

    `output` has shape (rows, heads, queries, width); `mass` is the log of the summed exponentials
    of the scores, float32, shape (rows, heads, queries).
    """

    output: torch.Tensor
    mass: torch.Tensor


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    scale: float,
    mask: torch.Tensor | None = None,
    causal: bool = False,
) -> Part:
    """Return scaled dot-product attention with its mass.

    Args:
        query: shape (rows, heads, queries, width).
        key: shape (rows, key heads, keys, width); `heads` is a multiple of `key heads`.
        value: shape as `key`.
        scale: factor of the scores.
        mask: added to the scores, broadcastable to (rows, heads, queries, keys); every query must
            attend to some key.
        causal: query i attends to keys 0..i only; without a mask.
    """
    if query.device.type == "cpu":
        # The kernel behind scaled_dot_product_attention, which drops the mass.
        output, mass = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(  # noqa: SLF001
            query, key, value, 0.0, causal, attn_mask=mask, scale=scale
        )
        return Part(output, mass)
    return attend_by_products(query, key, value, scale=scale, mask=mask, causal=causal)


def attend_by_products(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    scale: float,
    mask: torch.Tensor | None = None,
    causal: bool = False,
) -> Part:
    """Compute `attend` by matrix products, for devices whose kernels do not return the mass.

    A block of queries at a time: the scores of 8,192 tokens with 32 heads would take 8.6 GB.
    """
    rows, heads, queries, _ = query.shape
    groups = heads // key.shape[1]
    if groups > 1:
        key, value = (states.repeat_interleave(groups, dim=1) for states in (key, value))
    size = max(1, _SCORES // (rows * heads * key.shape[2]))
    blocks = []
    for start in range(0, queries, size):
        some = slice(start, start + size)
        own = mask if mask is None or mask.shape[-2] == 1 else mask[..., some, :]
        scores = (query[:, :, some] @ key.transpose(-1, -2)).float() * scale
        if own is not None:
            scores = scores + own
        if causal:
            ahead = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device)
            scores = scores.masked_fill(ahead.triu(start + 1), float("-inf"))
        mass = scores.logsumexp(dim=-1)
        blocks.append(Part((scores - mass[..., None]).exp().to(value.dtype) @ value, mass))
    if len(blocks) == 1:
        return blocks[0]
    return Part(*(torch.cat(parts, dim=2) for parts in zip(*blocks, strict=True)))


def join(parts: Sequence[Part]) -> torch.Tensor:
    """Return attention over all the parts' keys together, shape and dtype of the outputs."""
    first, *others = parts
    if not others:
        return first.output
    if len(others) == 1:  # exp(a) / (exp(a) + exp(b)) is the sigmoid of a - b
        (other,) = others
        share = (first.mass - other.mass).sigmoid()[..., None]
        both = torch.lerp(other.output.float(), first.output.float(), share)
        return both.to(first.output.dtype)
    total = torch.stack([part.mass for part in parts]).logsumexp(dim=0)
    weighted = [part.output * (part.mass - total).exp()[..., None] for part in parts]
    joined = weighted[0]
    for more in weighted[1:]:
        joined = joined + more
    return joined.to(first.output.dtype)
