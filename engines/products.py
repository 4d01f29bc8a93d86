"""Matrix products on a CPU, for the few rows that decoding has.

A decoding step multiplies each weight by one row per draw. torch hands this to a routine made for
tall matrices, which reaches a third of the machine's speed at 32 rows. Two things help, and change
nothing but the last digits: the same product the other way round, weights first, and for the
largest matrix, the output embedding, weights laid out for oneDNN once, when the model is loaded.
Measured in docs/decisions/029-products-of-few-rows.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FEW_ROWS = 128
"""Up to so many rows weights come first; beyond, turning the result costs more than it saves."""


class WeightsFirst(nn.Module):
    """A linear layer that multiplies from the left when there are few rows."""

    def __init__(self, linear: nn.Linear) -> None:
        """Use the weights of `linear`; nothing is copied."""
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return shape (…, out) for states of shape (…, in)."""
        rows = states.reshape(-1, states.shape[-1])
        if len(rows) > FEW_ROWS:
            return nn.functional.linear(states, self.weight, self.bias)
        product = torch.mm(self.weight, rows.t()).t().contiguous()
        if self.bias is not None:
            product += self.bias
        return product.view(*states.shape[:-1], -1)


class PackedHead(nn.Module):
    """An output embedding with a copy of its weights in oneDNN's own layout."""

    def __init__(self, linear: nn.Linear) -> None:
        """Copy the weights into the layout."""
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        self._packed = torch.ops.mkldnn._reorder_linear_weight(self.weight.detach())  # noqa: SLF001

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return logits, shape (…, vocabulary)."""
        logits: torch.Tensor = torch.ops.mkldnn._linear_pointwise(  # noqa: SLF001
            states.contiguous(), self._packed, self.bias, "none", [], ""
        )
        return logits


def prepare_for_few_rows(model: PreTrainedModel) -> None:
    """Exchange a model's linear layers for these, if it is in float32 on a CPU; in place.

    The model can be run afterwards, not trained or saved.
    """
    if model.device.type != "cpu" or model.dtype != torch.float32:
        return
    head = model.get_output_embeddings()
    for name, module in list(model.named_modules()):
        if type(module) is nn.Linear and module is not head:
            model.set_submodule(name, WeightsFirst(module))
    # The two operators are private to torch: without them the model works as it is.
    if type(head) is nn.Linear and hasattr(torch.ops.mkldnn, "_reorder_linear_weight"):
        model.set_output_embeddings(PackedHead(head))
