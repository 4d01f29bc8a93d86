"""Layers written out: which models have them, and that they compute what the model does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    GemmaConfig,
    GemmaForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from engines.hf import ways
from engines.hf.layers import are_plain

SIZES = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}


def _model(kind: Any, config: Any, **more: Any) -> Any:
    torch.manual_seed(5)
    model = kind(config(**SIZES, **more))
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):  # transformers begins with zeros
            nn.init.normal_(parameter)
        elif "norm" in name:  # ... or ones
            nn.init.uniform_(parameter, 0.5, 1.5)
    return model.eval()


def _hooked() -> Any:
    """Return a Llama whose layers are changed in a way that its modules do not show."""
    model = _model(LlamaForCausalLM, LlamaConfig)
    model.model.layers[0].mlp.register_forward_hook(lambda _, __, output: 2 * output)
    return model


@pytest.mark.parametrize(
    ("model", "written_out"),
    [
        (_model(LlamaForCausalLM, LlamaConfig), True),
        (_model(LlamaForCausalLM, LlamaConfig, tie_word_embeddings=True), True),
        (_model(Qwen2ForCausalLM, Qwen2Config), True),  # query, key and value with a bias
        # The modules of a Llama, but embeddings are scaled and norms are 1 + weight.
        (_model(GemmaForCausalLM, GemmaConfig), False),
        (_hooked(), False),
        (_model(Qwen3ForCausalLM, Qwen3Config), False),  # with norms of queries and keys
    ],
    ids=["llama", "tied", "qwen2", "gemma", "hooked", "qwen3"],
)
@torch.inference_mode()
def test_a_model_is_written_out_only_if_that_gives_its_own_logits(
    model: Any, *, written_out: bool
) -> None:
    ways._chosen.clear()
    ids = torch.arange(20, 30)
    wanted = model(ids[None]).logits[0]
    states: Any = ways.choose_states(model)()
    assert (states._layers is not None) == written_out
    found = [states.admit([ids[:7].tolist()], [1])]
    found += [states.step(ids[at : at + 1]) for at in (7, 8, 9)]
    torch.testing.assert_close(torch.cat(found), wanted[6:], rtol=1e-4, atol=1e-5)
    # The way is remembered for the architecture, and taken for the next model of it.
    assert list(ways._chosen.values()) == ["written_out" if written_out else "shared"]


def test_layers_with_other_modules_are_not_plain() -> None:
    model = _model(LlamaForCausalLM, LlamaConfig)
    assert are_plain(model)
    model.model.layers[1].mlp.up_proj = nn.Sequential(model.model.layers[1].mlp.up_proj)
    assert not are_plain(model)


def test_a_bias_in_some_of_the_joined_layers_is_not_plain() -> None:
    model = _model(LlamaForCausalLM, LlamaConfig)
    attention = model.model.layers[0].self_attn
    attention.k_proj = nn.Linear(32, attention.k_proj.out_features, bias=True)
    assert not are_plain(model)
