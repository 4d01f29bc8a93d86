from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from core.errors import DataError, ModelError
from training.plan.shapes import KNOWN, Shape, Unknown, shape_of

if TYPE_CHECKING:
    from pathlib import Path

# Totals as published with the weights (sums of the tensors in each safetensors index).
PUBLISHED = {
    "embedded": 134_515_008,
    "HuggingFaceTB/SmolLM2-135M-Instruct": 134_515_008,
    "meta-llama/Llama-2-7b-hf": 6_738_415_616,
    "meta-llama/Llama-2-13b-hf": 13_015_864_320,
    "meta-llama/Llama-2-70b-hf": 68_976_648_192,
    "meta-llama/Meta-Llama-3-8B": 8_030_261_248,
    "meta-llama/Meta-Llama-3-70B": 70_553_706_496,
}


def known(name: str) -> Shape:
    found = shape_of(name)
    assert isinstance(found, Shape)
    return found


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_counted_from_the_shape_are_the_published_total(name: str) -> None:
    assert known(name).parameters == PUBLISHED[name]


def test_the_parameters_of_llama_2_70b_by_hand() -> None:
    # A layer: query and output 2 x 8192 x 8192 = 134,217,728; key and value, 8 heads of 128:
    # 2 x 8192 x 1024 = 16,777,216; MLP 3 x 8192 x 28672 = 704,643,072; two norms 16,384.
    # Outside: two matrices of 32000 x 8192 = 524,288,000, one norm 8,192.
    shape = known("Llama-2-70b-hf")
    assert shape.layer_parameters == 134_217_728 + 16_777_216 + 704_643_072 + 16_384
    assert shape.outer_parameters == 524_288_000 + 8_192
    assert shape.parameters == 80 * 855_654_400 + 524_296_192 == 68_976_648_192


def test_the_cache_of_one_token_by_hand() -> None:
    # Key and value x layers x key heads x width of a head x 2 bytes.
    assert known("Llama-2-70b-hf").kv_bytes_per_token() == 2 * 80 * 8 * 128 * 2 == 327_680
    assert known("Meta-Llama-3-8B").kv_bytes_per_token() == 2 * 32 * 8 * 128 * 2 == 131_072
    assert known("Meta-Llama-3-8B").kv_bytes_per_token(4) == 262_144


def test_the_adapters_of_llama_3_8b_by_hand() -> None:
    # Rank 16 on query and value: 16 x (4096 + 4096) + 16 x (4096 + 1024) = 212,992 a layer.
    shape = known("Meta-Llama-3-8B")
    assert shape.lora_parameters(16, ("q_proj", "v_proj")) == 32 * 212_992
    with pytest.raises(ModelError, match="no matrix 'qkv' in a Llama layer"):
        shape.lora_parameters(16, ("qkv",))


def test_a_folders_config_is_read_and_counts_what_torch_counts(tiny: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny)
    shape = known(str(tiny))
    assert shape.parameters == sum(p.numel() for p in model.parameters())
    assert shape.kv_width == 32  # one key head of 64 / 2


def test_a_width_of_heads_that_is_stated_counts(tmp_path: Path) -> None:
    config = {
        "model_type": "llama",
        "num_hidden_layers": 1,
        "hidden_size": 8,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "vocab_size": 10,
        "head_dim": 6,
        "tie_word_embeddings": True,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    # No key heads stated: as many as query heads. Query, key, value, output: 4 x 8 x 12 = 384;
    # MLP 3 x 8 x 16 = 384; norms 16. Outside: 10 x 8 + 8, once because tied.
    assert known(str(tmp_path)).parameters == 384 + 384 + 16 + 88


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "has no config.json"),
        ({"model_type": "gpt2"}, "model_type 'gpt2' is not counted"),
        ({"model_type": "llama", "num_hidden_layers": 2}, "does not say hidden_size"),
    ],
)
def test_a_folder_that_cannot_be_counted_says_why(
    tmp_path: Path, content: dict[str, object] | None, reason: str
) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(Unknown, match=reason):
        shape_of(str(tmp_path))


def test_a_damaged_config_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(DataError, match=r"config\.json:1: not valid JSON"):
        shape_of(str(tmp_path))


@pytest.mark.parametrize("name", ["someone/llama-2-70b-tuned", "models/mine", "tiny"])
def test_an_unknown_model_has_no_shape_rather_than_a_guess(name: str) -> None:
    with pytest.raises(Unknown):
        shape_of(name)


def test_names_of_known_models_are_found_in_any_case() -> None:
    assert all(name == name.lower() for name in KNOWN)
    assert shape_of("models/LLAMA-2-70B-CHAT-HF") == KNOWN["llama-2-70b-hf"]
