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


class Packed(nn.Module):
    """A linear layer with a copy of its weights in oneDNN's own layout."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        self._packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())  # noqa: SLF001

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return shape (…, out) for states of shape (…, in)."""
        if states.numel() > FEW_ROWS * states.shape[-1]:
            return nn.functional.linear(states, self.weight, self.bias)
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(  # noqa: SLF001
            states.contiguous(), self._packed, self.bias, "none", [], ""
        )
        return product


def prepare_for_few_rows(model: PreTrainedModel) -> None:
    """Replace a model's linear layers by `Packed`, in place, if it is in float32 on a CPU.

    Afterwards the model can be run, not trained or saved. It takes twice the memory.
    """
    if model.device.type != "cpu" or model.dtype != torch.float32:
        return
    # The two operators are private to torch; without them the model is left as it is.
    if not hasattr(torch.ops.mkldnn, "_reorder_linear_weight"):
        return
    for name, module in list(model.named_modules()):
        if type(module) is nn.Linear:
            model.set_submodule(name, Packed(module))
