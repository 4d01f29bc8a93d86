"""Two pieces that make decoding cheaper in transformers, without changing what is computed.

A cache layer that writes into memory reserved in advance (the stock one copies the whole cache at
every token), and an attention function that, when one token is decoded, treats the query heads that
share a key/value head as one product (the stock one copies keys and values for each query head).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

if TYPE_CHECKING:
    from transformers import PretrainedConfig

GROUPED = "srlm_grouped"


class ReservedLayer(DynamicLayer):  # type: ignore[misc]
    """A growing cache layer over buffers reserved for `capacity` tokens."""

    def __init__(self, capacity: int) -> None:
        """Reserve nothing yet: the first update tells shape and dtype."""
        super().__init__()
        self._capacity = capacity
        self._used: int = 0
        self._buffers: list[torch.Tensor] = []

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the new tokens behind the old ones; return views of all keys and values."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            shape = (*key_states.shape[:2], self._capacity, key_states.shape[-1])
            self._buffers = [torch.empty(shape, dtype=self.dtype, device=self.device) for _ in "kv"]
        end = self._used + key_states.shape[-2]
        for buffer, new in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, self._used : end] = new
        self._used = end
        self._show()
        return self.keys, self.values

    def _show(self) -> None:
        self.keys, self.values = (buffer[:, :, : self._used] for buffer in self._buffers)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep (or repeat) the given rows; the buffers shrink or grow with them."""
        for at, buffer in enumerate(self._buffers):
            rows = torch.empty((len(indices), *buffer.shape[1:]), dtype=self.dtype)
            rows = rows.to(self.device)
            rows[:, :, : self._used] = buffer[:, :, : self._used].index_select(0, indices)
            self._buffers[at] = rows
        self._show()


def reserved_cache(config: PretrainedConfig, capacity: int) -> Cache:
    """Return a cache for `capacity` tokens a row; stock layers where not all attention is full."""
    layer_types = getattr(config, "layer_types", None)
    if layer_types and set(layer_types) != {"full_attention"}:
        return DynamicCache(config=config)
    return Cache(layers=[ReservedLayer(capacity) for _ in range(config.num_hidden_layers)])


def grouped_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Scaled dot-product attention; for one query token, heads of a group are its query rows.

    Shapes as transformers passes them: query (rows, heads, tokens, width), key and value (rows,
    key/value heads, all tokens, width); returns (rows, tokens, heads, width).
    """
    rows, heads, tokens, width = query.shape
    groups = heads // key.shape[1]
    if tokens != 1 or groups == 1 or module.training or set(kwargs) & {"position_bias", "cache"}:
        output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
        return output, None
    output = torch.nn.functional.scaled_dot_product_attention(
        query.reshape(rows, key.shape[1], groups, width),
        key,
        value,
        attn_mask=attention_mask,
        scale=kwargs.get("scaling"),
    )
    return output.reshape(rows, 1, heads, width), None


AttentionInterface.register(GROUPED, grouped_attention)
AttentionMaskInterface.register(GROUPED, sdpa_mask)
