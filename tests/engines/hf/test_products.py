"""Products of few rows: the same numbers as torch's linear layer, in models of any output size."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from engines.hf.products import FEW_ROWS, Packed, can_pack, prepare_for_few_rows, prepare_head


def linear(*, bias: bool) -> nn.Linear:
    torch.manual_seed(3)
    return nn.Linear(48, 80, bias=bias)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(1, 1, 48), (5, 1, 48), (FEW_ROWS + 1, 48), (2, FEW_ROWS, 48)])
def test_same_product(shape: tuple[int, ...], *, bias: bool) -> None:
    layer, states = linear(bias=bias), torch.randn(shape)
    with torch.inference_mode():
        made, wanted = Packed(layer)(states), layer(states)
    assert made.shape == wanted.shape
    assert made.is_contiguous()
    torch.testing.assert_close(made, wanted, rtol=1e-5, atol=1e-5)


def test_many_rows_have_torchs_own_digits() -> None:
    torch.manual_seed(4)
    layer, states = nn.Linear(1536, 64, bias=False), torch.randn(FEW_ROWS + 1, 1536)
    with torch.inference_mode():
        assert torch.equal(Packed(layer)(states), layer(states))


def test_states_that_lie_apart_in_memory() -> None:
    layer, states = linear(bias=True), torch.randn(48, 7).t()
    with torch.inference_mode():
        torch.testing.assert_close(Packed(layer)(states), layer(states), rtol=1e-5, atol=1e-5)


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
    model = LlamaForCausalLM(config)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):  # transformers begins with zeros
            nn.init.normal_(parameter)
    return model.to(dtype).eval()


@pytest.mark.parametrize("tied", [True, False])
def test_a_model_says_the_same(*, tied: bool) -> None:
    model = small_model(tied=tied)
    own = model.lm_head.weight.data_ptr()
    ids = torch.arange(30).view(3, 10)
    with torch.inference_mode():
        wanted = model(ids).logits
        prepare_for_few_rows(model)
        made = model(ids).logits
    torch.testing.assert_close(made, wanted, rtol=1e-4, atol=1e-5)
    kinds = [type(module) for module in model.modules()]
    assert nn.Linear not in kinds
    # 2 layers of q, k, v, o, gate, up, down; the output embedding
    assert kinds.count(Packed) == 15
    assert type(model.get_output_embeddings()) is Packed
    assert model.get_output_embeddings().weight.data_ptr() == (
        model.get_input_embeddings().weight.data_ptr() if tied else own
    )


def test_bfloat16_is_packed_where_the_processor_has_its_products() -> None:
    model = small_model(torch.bfloat16)
    ids = torch.arange(30).view(3, 10)
    with torch.inference_mode():
        wanted = model(ids).logits
        prepare_for_few_rows(model)
        made = model(ids).logits
    kinds = [type(module) for module in model.modules()]
    assert kinds.count(Packed) == (15 if can_pack(torch.bfloat16) else 0)
    torch.testing.assert_close(made, wanted, rtol=0.05, atol=0.02)


def test_the_output_embedding_alone() -> None:
    model = small_model()
    prepare_head(model)
    assert [type(module) for module in model.modules()].count(Packed) == 1
    assert type(model.get_output_embeddings()) is Packed


def test_other_arithmetic_is_left_alone() -> None:
    model = small_model(torch.float64)
    prepare_for_few_rows(model)
    prepare_head(model)
    assert Packed not in [type(module) for module in model.modules()]
    assert type(model.get_output_embeddings()) is nn.Linear
