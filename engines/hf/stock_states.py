"""Decoding states with transformers' own cache, for models that SharedStates does not support.

Models with sliding windows, other positions or softcapped attention decode whole batches, padded on
the left, which no row joins later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from transformers.cache_utils import DynamicCache

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedModel


class StockStates:
    """The states of the rows being decoded."""

    joins = False
    """Rows may be admitted while others are being decoded."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model, self._device = model, model.device

    def admit(self, prompts: Sequence[list[int]], draws: Sequence[int]) -> torch.Tensor:
        """Read prompts as a new batch, `draws[i]` rows for prompt i; return their logits."""
        width = max(map(len, prompts))
        ids = torch.zeros((len(prompts), width), dtype=torch.long, device=self._device)
        mask = torch.zeros_like(ids)
        for at, prompt in enumerate(prompts):
            ids[at, width - len(prompt) :] = torch.tensor(prompt, device=self._device)
            mask[at, width - len(prompt) :] = 1
        self._cache = DynamicCache(config=self._model.config)
        logits: torch.Tensor = self._model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        copies = torch.tensor(draws, device=self._device)
        rows = torch.arange(len(prompts), device=self._device).repeat_interleave(copies)
        self._cache.batch_select_indices(rows)
        self._mask, self._position = mask[rows], mask.sum(dim=1)[rows]
        return logits[rows]

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Append one token to every row, shape (rows,); return the next logits."""
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(tokens), 1)], dim=1)
        logits: torch.Tensor = self._model(
            input_ids=tokens[:, None],
            attention_mask=self._mask,
            position_ids=self._position[:, None],
            past_key_values=self._cache,
            use_cache=True,
        ).logits[:, -1]
        self._position = self._position + 1
        return logits

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these."""
        kept = torch.tensor(rows, dtype=torch.long, device=self._device)
        if len(rows):
            self._cache.batch_select_indices(kept)
        self._mask, self._position = self._mask[kept], self._position[kept]
