"""Decoding states with the model's own cache, for models that SharedStates does not support.

Whole batches are decoded, which no row joins later. Prompts of different lengths are padded on the
left; models that cannot be padded decode prompts of one length at a time.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedModel

_CACHES = ("past_key_values", "cache_params")  # what models call what they return


class StockStates:
    """The states of the rows being decoded."""

    joins = False
    """Rows may be admitted while others are being decoded."""

    def __init__(self, model: PreTrainedModel, *, pads: bool) -> None:
        """Without rows. `pads`: prompts of a batch may differ in length."""
        self._model, self._device = model, model.device
        self.pads = pads
        self._accepted = inspect.signature(model.forward).parameters
        self._cache: dict[str, Any] = {}

    def admit(self, prompts: Sequence[list[int]], draws: Sequence[int]) -> torch.Tensor:
        """Read prompts as a new batch, `draws[i]` rows for prompt i; return their logits."""
        width = max(map(len, prompts))
        ids = torch.zeros((len(prompts), width), dtype=torch.long, device=self._device)
        mask = torch.zeros_like(ids)
        for at, prompt in enumerate(prompts):
            ids[at, width - len(prompt) :] = torch.tensor(prompt, device=self._device)
            mask[at, width - len(prompt) :] = 1
        self._cache = {}
        logits = self._run(ids, mask, (mask.cumsum(dim=1) - 1).clamp(min=0))
        copies = torch.tensor(draws, device=self._device)
        rows = torch.arange(len(prompts), device=self._device).repeat_interleave(copies)
        self._mask, self._position = mask, mask.sum(dim=1)
        self._select(rows)
        return logits[rows]

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Append one token to every row, shape (rows,); return the next logits."""
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(tokens), 1)], dim=1)
        logits = self._run(tokens[:, None], self._mask, self._position[:, None])
        self._position = self._position + 1
        return logits

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these."""
        self._select(torch.tensor(rows, dtype=torch.long, device=self._device))

    def _run(self, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Return the last token's logits and keep the cache."""
        given: dict[str, Any] = {"logits_to_keep": 1}
        if self.pads:
            given |= {"attention_mask": mask, "position_ids": positions}
        given = {name: value for name, value in given.items() if name in self._accepted}
        output = self._model(input_ids=ids, use_cache=True, **given, **self._cache)
        found = {name: getattr(output, name, None) for name in _CACHES}
        self._cache = {name: cache for name, cache in found.items() if cache is not None}
        logits: torch.Tensor = output.logits[:, -1]
        return logits

    def _select(self, rows: torch.Tensor) -> None:
        if len(rows):
            for cache in self._cache.values():
                own = "batch_select_indices" in vars(type(cache))
                (cache.batch_select_indices if own else cache.reorder_cache)(rows)
        self._mask, self._position = self._mask[rows], self._position[rows]
