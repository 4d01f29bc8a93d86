"""The layers of a Llama-type model written out, for decoding on a CPU.

A decoding step of a few rows is short: in transformers' own modules half of it is Python. Here the
same arithmetic is a dozen calls per layer, with the products of one input joined (query, key and
value; gate and up) and the weights in oneDNN's layout (engines/hf/products.py).
Measured in docs/decisions/029-products-of-few-rows.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn
from torch.nn.functional import embedding, rms_norm

from engines.hf.attention import NewTokens
from engines.hf.products import can_pack, packed_weight, product

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedModel

    from engines.hf.attention import AttentionState

# The modules of a Llama and of its layers; other architectures have more, or others.
_MODEL = {"embed_tokens", "layers", "norm", "rotary_emb"}
_LAYER = {"self_attn", "mlp", "input_layernorm", "post_attention_layernorm"}
_ATTENTION = {"q_proj", "k_proj", "v_proj", "o_proj"}
_MLP = {"gate_proj", "up_proj", "down_proj", "act_fn"}


class _Product:
    """The linear layers of one input as one product."""

    def __init__(self, *linears: Any) -> None:
        weights = [linear.weight.detach() for linear in linears]
        self._weight = packed_weight(torch.cat(weights))
        biases = [linear.bias.detach() for linear in linears if linear.bias is not None]
        self._bias = torch.cat(biases) if biases else None

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        return product(states, self._weight, self._bias)


class _Norm(NamedTuple):
    weight: torch.Tensor
    epsilon: float

    @classmethod
    def of(cls, module: Any) -> _Norm:
        return cls(module.weight.detach(), module.variance_epsilon)

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        return rms_norm(states, self.weight.shape, self.weight, self.epsilon)


class _Layer(NamedTuple):
    before_attention: _Norm
    query_key_value: _Product
    output: _Product
    before_mlp: _Norm
    gate_up: _Product
    activation: Callable[[torch.Tensor], torch.Tensor]
    down: _Product


class Layers:
    """A model's layers for one new token per row. Later changes of the model's weights are lost."""

    def __init__(self, model: PreTrainedModel) -> None:
        """Copy the weights of a model that `are_plain`."""
        base: Any = model.base_model
        attention = base.layers[0].self_attn
        self._width, self._scale = attention.head_dim, attention.scaling
        self._heads = attention.q_proj.out_features // self._width
        self._shared = attention.k_proj.out_features // self._width
        self._embedding = base.embed_tokens.weight.detach()
        self._rotary, self._norm = base.rotary_emb, _Norm.of(base.norm)
        self._head: Any = model.get_output_embeddings()
        self._layers = [_layer(layer) for layer in base.layers]

    def step(
        self, tokens: torch.Tensor, positions: torch.Tensor, state: AttentionState
    ) -> torch.Tensor:
        """Return the logits after one token per row, shape (rows, vocabulary).

        `tokens` and `positions` have shape (rows,).
        """
        states = embedding(tokens, self._embedding)
        cosine, sine = self._rotary(states[:, None], positions[:, None])
        # Half of the width, negative: rolling the halves then is transformers' `rotate_half`.
        sine = torch.cat([-sine[..., : self._width // 2], sine[..., self._width // 2 :]], dim=-1)
        for at, layer in enumerate(self._layers):
            new = self._new_tokens(
                at, layer.query_key_value(layer.before_attention(states)), cosine, sine
            )
            mixed = state.attend(new).reshape(len(states), -1)
            states = states + layer.output(mixed)
            gate, up = layer.gate_up(layer.before_mlp(states)).chunk(2, dim=-1)
            states = states + layer.down(layer.activation(gate) * up)
        logits: torch.Tensor = self._head(self._norm(states))
        return logits

    def _new_tokens(
        self, at: int, joined: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor
    ) -> NewTokens:
        """Return a layer's projections, turned by their positions."""
        projected = joined.view(len(joined), -1, self._width)
        turned, value = projected.split([self._heads + self._shared, self._shared], dim=1)
        turned = turned * cosine + turned.roll(self._width // 2, dims=-1) * sine
        query, key = turned.split([self._heads, self._shared], dim=1)
        return NewTokens(at, query[:, :, None], key[:, :, None], value[:, :, None], self._scale)


def _layer(module: Any) -> _Layer:
    attention, mlp = module.self_attn, module.mlp
    return _Layer(
        _Norm.of(module.input_layernorm),
        _Product(attention.q_proj, attention.k_proj, attention.v_proj),
        _Product(attention.o_proj),
        _Norm.of(module.post_attention_layernorm),
        _Product(mlp.gate_proj, mlp.up_proj),
        mlp.act_fn,
        _Product(mlp.down_proj),
    )


def are_plain(model: PreTrainedModel) -> bool:
    """Whether a model on a CPU has the modules of a Llama and no others.

    It may still compute something else with them (scaled embeddings, norms of another form): that
    is found when it is tried.
    """
    base: Any = model.base_model
    if model.device.type != "cpu" or not can_pack(model.dtype) or _names(base) != _MODEL:
        return False
    return hasattr(base.norm, "variance_epsilon") and all(map(_is_plain, base.layers))


def _is_plain(layer: Any) -> bool:
    if _names(layer) != _LAYER or _names(layer.mlp) != _MLP:
        return False
    attention, mlp = layer.self_attn, layer.mlp
    known = all(hasattr(attention, name) for name in ("head_dim", "scaling"))
    if _names(attention) != _ATTENTION or not known:
        return False
    joined = (
        (attention.q_proj, attention.k_proj, attention.v_proj),
        (mlp.gate_proj, mlp.up_proj),
        (attention.o_proj,),
        (mlp.down_proj,),
    )
    norms = (layer.input_layernorm, layer.post_attention_layernorm)
    return all(hasattr(norm, "variance_epsilon") for norm in norms) and all(
        all(type(linear) is nn.Linear for linear in linears)
        and len({linear.bias is None for linear in linears}) == 1
        for linears in joined
    )


def _names(module: nn.Module) -> set[str]:
    return {name for name, _ in module.named_children()}
