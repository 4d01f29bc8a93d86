"""Products of few rows: the same numbers as torch's linear layer, in models of any output size."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from engines.products import FEW_ROWS, PackedHead, WeightsFirst, prepare_for_few_rows


def linear(*, bias: bool) -> nn.Linear:
    torch.manual_seed(3)
    return nn.Linear(48, 80, bias=bias)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(1, 1, 48), (5, 1, 48), (FEW_ROWS + 1, 48), (2, FEW_ROWS, 48)])
@pytest.mark.parametrize("kind", [WeightsFirst, PackedHead])
def test_same_product(
    kind: type[WeightsFirst | PackedHead], shape: tuple[int, ...], *, bias: bool
) -> None:
    layer, states = linear(bias=bias), torch.randn(shape)
    with torch.inference_mode():
        made, wanted = kind(layer)(states), layer(states)
    assert made.shape == wanted.shape
    assert made.is_contiguous()
    torch.testing.assert_close(made, wanted, rtol=1e-5, atol=1e-5)


def test_states_that_lie_apart_in_memory() -> None:
    layer, states = linear(bias=True), torch.randn(48, 7).t()
    with torch.inference_mode():
        for kind in (WeightsFirst, PackedHead):
            torch.testing.assert_close(kind(layer)(states), layer(states), rtol=1e-5, atol=1e-5)


def small_model(dtype: torch.dtype = torch.float32, *, tied: bool = True) -> LlamaForCausalLM:
    torch.manual_seed(5)
    config = LlamaConfig(
        vocab_size=96,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        attention_bias=True,
        tie_word_embeddings=tied,
    )
    return LlamaForCausalLM(config).to(dtype).eval()


@pytest.mark.parametrize("tied", [True, False])
def test_a_model_says_the_same(*, tied: bool) -> None:
    model = small_model(tied=tied)
    ids = torch.arange(30).view(3, 10)
    with torch.inference_mode():
        wanted = model(ids).logits
        prepare_for_few_rows(model)
        made = model(ids).logits
    torch.testing.assert_close(made, wanted, rtol=1e-4, atol=1e-5)
    kinds = [type(module) for module in model.modules()]
    assert nn.Linear not in kinds
    assert kinds.count(WeightsFirst) == 14  # 2 layers of q, k, v, o, gate, up, down
    assert type(model.get_output_embeddings()) is PackedHead
    assert model.get_output_embeddings().weight.data_ptr() == (
        model.get_input_embeddings().weight.data_ptr() if tied else model.lm_head.weight.data_ptr()
    )


def test_other_arithmetic_is_left_alone() -> None:
    model = small_model(torch.bfloat16)
    prepare_for_few_rows(model)
    assert WeightsFirst not in [type(module) for module in model.modules()]
    assert type(model.get_output_embeddings()) is nn.Linear
