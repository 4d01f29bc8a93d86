"""Matrix products on a CPU, for the few rows that decoding has.

A decoding step multiplies each weight by one row per draw. torch hands this to a routine made for
tall matrices, which reaches a third of the machine's speed at 32 rows. oneDNN, which torch brings
along, does better once the weights lie in the layout it wants: a copy is turned into it when the
model is loaded. Nothing changes but the last digits.
Measured in docs/decisions/029-products-of-few-rows.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FEW_ROWS = 128
"""Up to so many rows the copy is used. With more, torch's own product is about as fast, and its
last digits are those of other programs that score with the model."""


class Packed(nn.Module):
    """A linear layer with a copy of its weights in oneDNN's own layout."""

    def __init__(self, linear: nn.Linear) -> None:
        """Copy the weights into the layout."""
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
    """Exchange a model's linear layers for these, if it is in float32 on a CPU; in place.

    The model can be run afterwards, not trained or saved. It takes twice the memory.
    """
    if model.device.type != "cpu" or model.dtype != torch.float32:
        return
    # The two operators are private to torch: without them the model works as it is.
    if not hasattr(torch.ops.mkldnn, "_reorder_linear_weight"):
        return
    for name, module in list(model.named_modules()):
        if type(module) is nn.Linear:
            model.set_submodule(name, Packed(module))
