"""Faster matrix products on a CPU for the few rows of a decoding step.

A decoding step multiplies each weight by one row per draw. torch uses a routine for tall matrices,
which reaches a third of the machine's speed at 32 rows. oneDNN, which is part of torch, is faster
once the weights are in its own layout: a copy is converted when the model is loaded. Results differ
in the last digits only.
Measured in docs/decisions/029-products-of-few-rows.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FEW_ROWS = 128
"""The copy is used up to this many rows. With more, torch's own product is about as fast, and its
last digits equal those of other programs that score with the model."""


def can_pack(dtype: torch.dtype) -> bool:
    """Whether this processor has products of weights in oneDNN's layout, in this arithmetic."""
    # The operators are private to torch; without them a model is left as it is.
    operators = torch.ops.mkldnn
    if not hasattr(operators, "_reorder_linear_weight"):
        return False
    if dtype == torch.bfloat16:
        return bool(operators._is_mkldnn_bf16_supported())  # noqa: SLF001
    return dtype == torch.float32


def packed_weight(weight: torch.Tensor) -> torch.Tensor:
    """Return a copy of a weight, shape (out, in), in oneDNN's own layout."""
    packed: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(weight)  # noqa: SLF001
    return packed


def product(states: torch.Tensor, packed: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Return shape (…, out) for states of shape (…, in)."""
    made: torch.Tensor = torch.ops.mkldnn._linear_pointwise(  # noqa: SLF001
        states.contiguous(), packed, bias, "none", [], ""
    )
    return made


class Packed(nn.Module):
    """A linear layer with a copy of its weights in oneDNN's own layout."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        self._packed = packed_weight(linear.weight.detach())

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return shape (…, out) for states of shape (…, in)."""
        if states.numel() > FEW_ROWS * states.shape[-1]:
            return nn.functional.linear(states, self.weight, self.bias)
        return product(states, self._packed, self.bias)


def prepare_for_few_rows(model: PreTrainedModel) -> None:
    """Replace a model's linear layers by `Packed`, in place, if it is on a CPU that `can_pack`.

    Afterwards the model can be run, not trained or saved. It takes twice the memory.
    """
    if model.device.type != "cpu" or not can_pack(model.dtype):
        return
    for name, module in list(model.named_modules()):
        if type(module) is nn.Linear:
            model.set_submodule(name, Packed(module))


def prepare_head(model: PreTrainedModel) -> None:
    """As `prepare_for_few_rows`, for the output embedding alone."""
    head = model.get_output_embeddings()
    if model.device.type != "cpu" or not can_pack(model.dtype) or type(head) is not nn.Linear:
        return
    name = next(name for name, module in model.named_modules() if module is head)
    model.set_submodule(name, Packed(head))
