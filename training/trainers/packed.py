"""Training on a CPU without padding: the rows of a batch are run as one sequence of their tokens.

A batch of rows of 80 and 600 tokens is half padding, and each padded position costs as much as a
token. Here the rows' tokens are put side by side, every layer sees tokens only, and attention is
computed row by row. What a model returns is as before, with zeros at the padding. Measured in
docs/decisions/041-training-steps-on-a-cpu.md.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import dropout as drop
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from core.progress import say
from engines.models import has_plain_attention

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedModel

PACKED = "srlm_packed"
# Up to this many tokens `RowAttention` is faster than torch's fused kernel, and its probabilities,
# which are kept for the backward pass, are small.
_SHORT = 256
# Lengths of the rows that a model is tried with, and the accepted difference of its outputs as a
# share of their spread: rounding gives 1e-6, attention to another row's tokens 0.1 and more.
_TRIED = (12, 7)
_TOLERANCE = 1e-3


class RowAttention(torch.autograd.Function):
    """Causal attention within one row, by matrix products.

    The backward pass of torch's fused kernel computes the probabilities again, and for a row of a
    hundred tokens in bfloat16 takes four times as long.
    """

    @staticmethod
    def forward(
        ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, dropout: float
    ) -> torch.Tensor:
        """Return attention, shape of `query`.

        Args:
            ctx: torch's.
            query: shape (key heads, group, tokens, width), scaled.
            key: shape (key heads, tokens, width).
            value: shape of `key`.
            dropout: probability that a key is left out.
        """
        shared, _, tokens, width = query.shape
        queries = query.reshape(shared, -1, width)
        scores = torch.bmm(queries, key.transpose(1, 2)).float()
        scores.view(shared, -1, tokens, tokens).add_(_ahead(tokens))
        weights = scores.softmax(dim=-1)
        used = drop(weights, dropout).to(value.dtype) if dropout else None
        weights = weights.to(value.dtype)
        ctx.dropout = dropout
        ctx.save_for_backward(queries, key, value, weights, used)
        return torch.bmm(weights if used is None else used, value).view_as(query)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of query, key and value."""
        queries, key, value, weights, used = ctx.saved_tensors
        given = gradient.to(queries.dtype).reshape(queries.shape)
        of_weights = torch.bmm(given, value.transpose(1, 2)).float()
        if used is not None:
            of_weights.mul_(used != 0).div_(1 - ctx.dropout)
        of_scores = torch._softmax_backward_data(  # noqa: SLF001 - softmax's own derivative
            of_weights, weights.float(), -1, torch.float32
        ).to(queries.dtype)
        of_query = torch.bmm(of_scores, key).view(gradient.shape)
        of_key = torch.bmm(of_scores.transpose(1, 2), queries)
        of_value = torch.bmm((weights if used is None else used).transpose(1, 2), given)
        return of_query, of_key, of_value, None


@functools.lru_cache(maxsize=_SHORT)
def _ahead(tokens: int) -> torch.Tensor:
    """Return what to add to scores, shape (queries, keys): nothing ahead is attended to."""
    return torch.full((tokens, tokens), float("-inf")).triu_(1)


def packed_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    row_lengths: Sequence[int] | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Return attention within each row in transformers' layout, shape (1, tokens, heads, width).

    Without `row_lengths` it is the stock sdpa function.
    """
    if row_lengths is None:
        output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
        return output, None
    device = query.device.type
    kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else query.dtype
    shared, dropout = key.shape[1], kwargs.get("dropout", 0.0)
    queries = (query[0] * kwargs["scaling"]).to(kind).unflatten(0, (shared, -1))
    keys, values = (states[0].to(kind).split(row_lengths, dim=1) for states in (key, value))
    parts = zip(queries.split(row_lengths, dim=2), keys, values, strict=True)
    rows = [_row_attention(*part, dropout=dropout) for part in parts]
    return torch.cat(rows, dim=2).flatten(0, 1).transpose(0, 1)[None], None


def _row_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, dropout: float
) -> torch.Tensor:
    """Return attention within a row, shapes as in `RowAttention`."""
    # With dropout torch has no fused kernel on a CPU.
    if dropout or key.shape[1] <= _SHORT:
        attention: torch.Tensor = RowAttention.apply(query, key, value, dropout)
        return attention
    group = query.shape[1]
    key, value = (states.repeat_interleave(group, dim=0)[None] for states in (key, value))
    heads = query.flatten(0, 1)[None]
    return scaled_dot_product_attention(heads, key, value, is_causal=True, scale=1.0)[0].view_as(
        query
    )


AttentionInterface.register(PACKED, packed_attention)
AttentionMaskInterface.register(PACKED, sdpa_mask)


def pack_rows(model: PreTrainedModel) -> bool:
    """Make a loaded model run batches without padding; return whether it does.

    It is left as it is if its attention is not plain, or if packed rows change what it returns,
    which is tried with a few tokens.
    """
    config = model.config
    own = config._attn_implementation  # noqa: SLF001 - there is no public name for it
    can = bool(getattr(model, "_supports_attention_backend", False))
    if own != "sdpa" or not can or not has_plain_attention(config.get_text_config()):
        return False
    batch = _some_rows(model)
    expected = _hidden(model, batch)
    forward = model.base_model.forward
    model.set_attn_implementation(PACKED)
    model.base_model.forward = functools.partial(_packed_forward, forward)
    difference = (_hidden(model, batch) - expected).abs().max() / expected.std()
    if bool(difference <= _TOLERANCE):
        return True
    say(f"  note: {config.model_type}: trained with padding, which is slower")
    model.set_attn_implementation(own)
    model.base_model.forward = forward
    return False


def _packed_forward(own: Any, *args: Any, **kwargs: Any) -> Any:
    """Run a backbone's own forward pass on the tokens that the attention mask shows."""
    mask = kwargs.get("attention_mask")
    if args or mask is None or kwargs.get("use_cache") or "position_ids" in kwargs:
        return own(*args, **kwargs)
    shown = mask.bool()
    kwargs |= {
        "input_ids": kwargs["input_ids"][shown][None],
        "position_ids": (shown.cumsum(dim=1) - 1)[shown][None],
        # transformers passes a four-dimensional mask on unchanged; without one it builds its own.
        "attention_mask": torch.zeros((1, 1, 1, 1)),
        "row_lengths": shown.sum(dim=1).tolist(),
    }
    output = own(**kwargs)
    tokens = output.last_hidden_state[0]
    padded = tokens.new_zeros((*shown.shape, tokens.shape[-1]))
    padded[shown] = tokens
    output.last_hidden_state = padded
    return output


def _some_rows(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Return two rows of arbitrary tokens, none of them near the special ones."""
    size = model.get_input_embeddings().weight.shape[0]
    random = torch.Generator().manual_seed(0)
    ids = torch.randint(size // 4, size // 2, (len(_TRIED), max(_TRIED)), generator=random)
    mask = torch.arange(max(_TRIED)) < torch.tensor(_TRIED)[:, None]
    return {"input_ids": ids, "attention_mask": mask.long()}


@torch.no_grad()
def _hidden(model: PreTrainedModel, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the hidden states of a batch's tokens, without dropout."""
    training = model.training
    output = model.eval().base_model(**batch, use_cache=False).last_hidden_state
    model.train(training)
    hidden: torch.Tensor = output[batch["attention_mask"].bool()]
    return hidden
