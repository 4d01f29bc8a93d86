"""Matrix products on a CPU, for the few rows that decoding has.

A decoding step multiplies each weight by one row per draw. torch hands this to a routine made for
tall matrices, which reaches a third of the machine's speed at 32 rows. oneDNN, which torch brings
along, does better once the weights lie in the layout it wants: they are turned into it when the
model is loaded. Nothing changes but the last digits.
Measured in docs/decisions/029-products-of-few-rows.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Packed(nn.Module):
    """A linear layer whose weights lie in oneDNN's own layout."""

    def __init__(self, linear: nn.Linear) -> None:
        """Copy the weights into the layout; `linear` can be let go."""
        super().__init__()
        self.bias = linear.bias
        self._packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())  # noqa: SLF001

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return shape (…, out) for states of shape (…, in)."""
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(  # noqa: SLF001
            states.contiguous(), self._packed, self.bias, "none", [], ""
        )
        return product


def prepare_for_few_rows(model: PreTrainedModel) -> None:
    """Exchange a model's linear layers for these, if it is in float32 on a CPU; in place.

    The model can be run afterwards, not trained or saved. Its memory grows by the output embedding,
    where that is also the input embedding; other weights are let go layer by layer.
    """
    if model.device.type != "cpu" or model.dtype != torch.float32:
        return
    # The two operators are private to torch: without them the model works as it is.
    if not hasattr(torch.ops.mkldnn, "_reorder_linear_weight"):
        return
    # By names, so that no list keeps the old weights.
    for name in [name for name, _ in model.named_modules()]:
        module = model.get_submodule(name)
        if type(module) is nn.Linear:
            model.set_submodule(name, Packed(module))
