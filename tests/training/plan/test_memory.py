from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from training.plan.memory import (
    SamplingMemory,
    TrainingSetup,
    activation_bytes,
    activations,
    sampling_memory,
    training_memory,
)
from training.plan.shapes import KNOWN, Shape

if TYPE_CHECKING:
    import torch

SMALL = Shape(layers=3, hidden=64, heads=4, kv_heads=2, intermediate=96, vocabulary=128)
WIDE_HEADS = SMALL._replace(head_size=24)  # query and hidden differ in width
SEVENTY, EIGHT = KNOWN["llama-2-70b-hf"], KNOWN["meta-llama-3-8b"]
TOKENS = 16


def kept_by_torch(shape: Shape, *, bf16: bool, checkpointing: bool) -> float:
    """Count the bytes of every tensor that autograd keeps, parameters and their copies left out."""
    import torch
    from transformers import LlamaConfig, LlamaModel

    model = LlamaModel(
        LlamaConfig(
            hidden_size=shape.hidden,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            head_dim=shape.per_head,
            intermediate_size=shape.intermediate,
            vocab_size=shape.vocabulary,
            attn_implementation="sdpa",
            use_cache=False,
        )
    )
    model.train()
    if checkpointing:
        model.gradient_checkpointing_enable()
    owned = {p.untyped_storage().data_ptr() for p in model.parameters()}
    sizes = {p.numel() for p in model.parameters() if p.dim() > 1}
    kept: dict[int, tuple[int, torch.Tensor]] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        # autocast's copy of a matrix is not an activation; no activation here has its size.
        if storage.data_ptr() not in owned and tensor.numel() not in sizes:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    autocast = torch.autocast("cpu", dtype=torch.bfloat16) if bf16 else nullcontext()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t), autocast:
        model(torch.zeros(1, TOKENS, dtype=torch.long))
    return sum(size for size, _ in kept.values())


@pytest.mark.parametrize("shape", [SMALL, WIDE_HEADS], ids=["square", "wide heads"])
@pytest.mark.parametrize("bf16", [True, False], ids=["bf16", "fp32"])
def test_activations_are_what_autograd_keeps_for_each_further_layer(
    shape: Shape, *, bf16: bool
) -> None:
    deeper = shape._replace(layers=shape.layers + 1)
    counted = kept_by_torch(deeper, bf16=bf16, checkpointing=False) - kept_by_torch(
        shape, bf16=bf16, checkpointing=False
    )
    assert activation_bytes(shape, bf16=bf16) * TOKENS == counted


def test_with_checkpointing_each_further_layer_keeps_its_input_only() -> None:
    deeper = SMALL._replace(layers=4)
    counted = kept_by_torch(deeper, bf16=True, checkpointing=True) - kept_by_torch(
        SMALL, bf16=True, checkpointing=True
    )
    planned = [activations(s, TOKENS, bf16=True, checkpointing=True) for s in (deeper, SMALL)]
    assert planned[0] - planned[1] == counted == 4 * 64 * TOKENS


def test_the_activations_of_llama_3_8b_by_hand() -> None:
    # bf16: 4 x 4 x 4096 + 2 x (5 x 4096 + 2 x 4096 + 2 x 1024 + 4 x 14336) + 4 x (2 + 32)
    # = 65,536 + 176,128 + 136 = 241,800 bytes a token and layer.
    assert activation_bytes(EIGHT, bf16=True) == 241_800
    # One sequence of 2,048 tokens through 32 layers: 15.85 GB; with checkpointing 32 inputs of
    # 2,048 x 4 x 4096 bytes and one layer's own: 1.07 + 0.50 GB.
    assert activations(EIGHT, 2048, bf16=True, checkpointing=False) == 32 * 2048 * 241_800
    with_checkpoints = activations(EIGHT, 2048, bf16=True, checkpointing=True)
    assert with_checkpoints == 32 * 2048 * 4 * 4096 + 2048 * 241_800
    assert with_checkpoints == pytest.approx(1.569e9, rel=1e-3)


ALONE = TrainingSetup(
    gpus=1, sharded=False, rows=1, answers=1, max_length=2048, bf16=True, checkpointing=True
)
SIXTEEN = ALONE._replace(gpus=16, sharded=True)


def test_one_gpu_holds_eighteen_bytes_per_parameter() -> None:
    # fp32 weights 4, gradients 4, Adam 8, and autocast's copies 2; in fp32 no copies.
    found = training_memory(EIGHT, ALONE)
    assert (found.weights, found.gradients) == (4 * 8_030_261_248, 4 * 8_030_261_248)
    assert (found.optimiser, found.copies) == (8 * 8_030_261_248, 2 * 8_030_261_248)
    assert training_memory(EIGHT, ALONE._replace(bf16=False)).copies == 0


def test_llama_2_70b_on_sixteen_gpus_by_hand() -> None:
    found = training_memory(SEVENTY, SIXTEEN._replace(answers=2))
    # 68.977e9 parameters / 16 = 4.311e9: x 4, x 4, x 8.
    assert found.weights == found.gradients == 68_976_648_192 / 4
    assert found.optimiser == 68_976_648_192 / 2
    # In bf16: two layers and the gradient of one, the outer parameters and theirs:
    # 2 x (3 x 855,654,400 + 2 x 524,296,192) = 7.23 GB.
    assert found.copies == 2 * (3 * 855_654_400 + 2 * 524_296_192)
    # Two sequences of 2,048: 80 x 4,096 x 32,768 + 4,096 x 479,496 bytes = 12.70 GB, where a
    # layer keeps 16 x 8192 + 2 x (7 x 8192 + 2 x 1024 + 4 x 28672) + 4 x 66 = 479,496.
    assert found.activations == 80 * 4096 * 32_768 + 4096 * 479_496
    assert found.needed == pytest.approx(88.9e9, rel=1e-3)


def test_several_gpus_that_share_nothing_need_as_much_as_one() -> None:
    together = ALONE._replace(gpus=8)
    assert training_memory(EIGHT, together).needed == training_memory(EIGHT, ALONE).needed


def test_a_reference_of_its_own_is_held_and_the_start_itself_is_not() -> None:
    assert training_memory(SEVENTY, SIXTEEN).reference == 0
    other = training_memory(SEVENTY, SIXTEEN._replace(second_reference=True))
    assert other.reference == 68_976_648_192 / 4
    assert other.needed - training_memory(SEVENTY, SIXTEEN).needed == other.reference


def test_adapters_leave_gradients_and_optimiser_to_themselves() -> None:
    adapters = EIGHT.lora_parameters(16, ("q_proj", "v_proj"))
    found = training_memory(EIGHT, ALONE._replace(adapters=adapters))
    trained = 32 * 212_992  # tests/training/plan/test_shapes.py
    assert found.gradients == 4 * trained
    assert found.optimiser == 8 * trained
    assert found.weights == 4 * (8_030_261_248 + trained)


def test_adapters_gather_no_gradients() -> None:
    found = training_memory(
        EIGHT, SIXTEEN._replace(adapters=EIGHT.lora_parameters(16, ("q_proj",)))
    )
    # Two layers and the outer parameters: 2 x (2 x 218,112,000 + 1,050,677,248) bytes.
    assert found.copies == 2 * (2 * 218_112_000 + 1_050_677_248)


def sampling(shape: Shape, gpus: int, **more: Any) -> SamplingMemory:
    asked = {"models": 1, "bytes_per_value": 2, "cache_tokens": 1000, "available": 72e9}
    return sampling_memory(shape, gpus, **(asked | more))


def test_sampling_by_llama_2_70b_on_eight_gpus_by_hand() -> None:
    found = sampling(SEVENTY, 8, cache_tokens=10_000, available=126.9e9)
    assert found.weights == 2 * 68_976_648_192 / 8  # 17.24 GB
    # One of eight key heads each: 327,680 / 8 = 40,960 bytes a token on each GPU.
    assert found.cache == 10_000 * 40_960
    assert found.room_tokens == int((126.9e9 - found.weights) // 40_960) == 2_677_144


def test_more_gpus_than_key_heads_hold_copies_of_the_cache() -> None:
    eight, sixteen = sampling(SEVENTY, 8), sampling(SEVENTY, 16)
    assert sixteen.cache == eight.cache
    assert sixteen.weights == eight.weights / 2


def test_there_is_no_room_where_the_weights_do_not_fit() -> None:
    found = sampling(SEVENTY, 1)
    assert found.room_tokens == 0
    assert found.needed > 72e9


def test_two_models_kept_loaded_weigh_twice() -> None:
    one, two = (sampling(EIGHT, 1, models=n) for n in (1, 2))
    assert two.weights == 2 * one.weights == 4 * 8_030_261_248
