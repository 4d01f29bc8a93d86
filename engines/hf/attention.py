"""Attention functions for transformers that take their keys from a `Pass` instead of a cache.

transformers lets a model be run with any registered attention function and hands it whatever else
the model was called with. Ours gets a `Pass` that way, which says where the other keys are; called
without one, it is the stock function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

SEGMENTED = "srlm_segmented"


class Pass(Protocol):
    """One run through the model: what each layer's new tokens see besides themselves."""

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        """Return attention, shape of `query`: (rows, heads, tokens, width).

        `key` and `value`, shape (rows, key heads, tokens, width), are those of the new tokens.
        """
        ...


def segmented_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    tokens_see: Pass | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Return attention as transformers wants it, shape (rows, tokens, heads, width)."""
    if tokens_see is None:
        output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
        return output, None
    output = tokens_see.attend(module.layer_idx, query, key, value, kwargs["scaling"])
    return output.transpose(1, 2), None


AttentionInterface.register(SEGMENTED, segmented_attention)
AttentionMaskInterface.register(SEGMENTED, sdpa_mask)


def run(
    model: PreTrainedModel, ids: torch.Tensor, positions: torch.Tensor, tokens_see: Pass
) -> torch.Tensor:
    """Return the last hidden states of new tokens, shape (rows, tokens, hidden)."""
    # A mask of four dimensions is passed on as it is; without one transformers would build its own.
    unused = torch.zeros((1, 1, 1, 1), device=ids.device)
    hidden: torch.Tensor = model.base_model(
        input_ids=ids,
        position_ids=positions,
        attention_mask=unused,
        use_cache=False,
        tokens_see=tokens_see,
    ).last_hidden_state
    return hidden


def tokens_at_once(device: torch.device) -> int:
    """Return how many prompt tokens are best run in one pass.

    On a CPU a pass is fastest while what flows between layers stays in its cache: HellaSwag takes
    6.0 s with 512 tokens, 7.3 with 2,048 and 10.4 with 4,096 (two cores, 32 MB of cache).
    """
    return 512 if device.type == "cpu" else 8192


def can_share(model: PreTrainedModel) -> bool:
    """Whether the model takes its keys from a `Pass`."""
    config = model.config.get_text_config()
    return (
        config._attn_implementation == SEGMENTED  # noqa: SLF001 - there is no public name for it
        and bool(getattr(model, "_supports_attention_backend", False))
        and has_plain_attention(config)
    )


def has_plain_attention(config: PretrainedConfig) -> bool:
    """Whether tokens see all before them, at rotary positions, and logits are plain products."""
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    changed = ("final_logit_softcapping", "attn_logit_softcapping", "logits_scaling", "logit_scale")
    return (
        rope.get("rope_type") in {"default", "linear", "llama3", "yarn"}
        and kinds == {"full_attention"}
        and not getattr(config, "sliding_window", None)
        and not any(getattr(config, name, None) for name in changed)
    )
