"""A transformers attention function whose earlier keys come from an `AttentionState`, not a cache.

transformers runs a model with any registered attention function and passes on the model's extra
keyword arguments. The function here takes an `attention_state` that way; without one it is the
stock sdpa function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from engines.models import has_plain_attention

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SEGMENTED = "srlm_segmented"


class NewTokens(NamedTuple):
    """One layer's projections of the new tokens.

    `query` has shape (rows, heads, tokens, width); `key` and `value` (rows, key heads, tokens,
    width). `scale` is the factor of the scores.
    """

    layer: int
    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    scale: float


class AttentionState(Protocol):
    """The keys and values that new tokens attend to besides their own, for one forward pass."""

    def attend(self, new: NewTokens) -> torch.Tensor:
        """Return attention, shape of `new.query`."""


def segmented_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    attention_state: AttentionState | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Return attention in transformers' layout, shape (rows, tokens, heads, width)."""
    if attention_state is None:
        output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
        return output, None
    new = NewTokens(module.layer_idx, query, key, value, kwargs["scaling"])
    output = attention_state.attend(new)
    return output.transpose(1, 2), None


AttentionInterface.register(SEGMENTED, segmented_attention)
AttentionMaskInterface.register(SEGMENTED, sdpa_mask)


def run(
    model: PreTrainedModel, ids: torch.Tensor, positions: torch.Tensor, state: AttentionState
) -> torch.Tensor:
    """Return the last hidden states of new tokens, shape (rows, tokens, hidden)."""
    # transformers passes a four-dimensional mask on unchanged; without one it builds its own.
    unused = torch.zeros((1, 1, 1, 1), device=ids.device)
    hidden: torch.Tensor = model.base_model(
        input_ids=ids,
        position_ids=positions,
        attention_mask=unused,
        use_cache=False,
        attention_state=state,
    ).last_hidden_state
    return hidden


def tokens_at_once(device: torch.device) -> int:
    """Return how many prompt tokens to run in one forward pass.

    On a CPU a pass is fastest while the hidden states fit in its cache: HellaSwag takes 6.0 s with
    512 tokens, 7.3 with 2,048 and 10.4 with 4,096 (two cores, 32 MB of cache).
    """
    return 512 if device.type == "cpu" else 8192


def can_share(model: PreTrainedModel) -> bool:
    """Whether the model can be run with an `AttentionState`."""
    config = model.config.get_text_config()
    return (
        config._attn_implementation == SEGMENTED  # noqa: SLF001 - there is no public name for it
        and bool(getattr(model, "_supports_attention_backend", False))
        and has_plain_attention(config)
    )
