"""Tiny random models of every causal-LM family that the installed transformers has."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

VOCABULARY = 128
LAYERS = 4
# Sizes of all families: the first rule whose words are all in a setting's name.
_SIZES: tuple[tuple[tuple[str, ...], int], ...] = (
    (("vocab", "size"), VOCABULARY),
    (("first_k_dense",), 1),
    (("mtp",), 0), (("nextn",), 0),
    (("num", "layers"), LAYERS), (("n_layer",), LAYERS), (("decoder_layers",), LAYERS),
    (("encoder_layers",), 1), (("num", "blocks"), LAYERS),
    (("experts", "per"), 2), (("top_k",), 2), (("topk_group",), 1), (("n_group",), 1),
    (("shared_experts",), 1), (("experts",), 4),
    (("window",), 8), (("chunk_size",), 8), (("attention_chunk",), 8),
    (("key_value_heads",), 2), (("kv_heads",), 2), (("num_kv",), 2),
    (("heads",), 4), (("n_head",), 4),
    (("lora_rank",), 16), (("rope_head_dim",), 8), (("rotary_dim",), 8),
    (("nope_head_dim",), 8), (("head_dim",), 16), (("d_head",), 16), (("d_kv",), 16),
    (("intermediate",), 64), (("ffn",), 64), (("d_ff",), 64), (("n_inner",), 64),
    (("hidden_size_per_layer",), 8),
    (("hidden_size",), 64), (("d_model",), 64), (("n_embd",), 64), (("embedding_size",), 64),
    (("max_position",), 128), (("n_positions",), 128), (("max_seq",), 128),
)  # fmt: skip


def families() -> list[str]:
    """Names of all families, as `model_type` has them."""
    return sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def tiny_model(name: str, **more: Any) -> PreTrainedModel:
    """A random model in float32, with the default attention; raises whatever its classes raise."""
    config = AutoConfig.for_model(name)
    config = type(config)(**{**_shrunk(config), **_OWN.get(name, {}), **more})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
        # Initial weights of 0.02 make all models nearly linear: attention must matter.
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.1)
    return model.float().eval()


# Settings of single families: what their classes demand beyond small sizes.
_CONV = ["conv", "full_attention", "conv", "full_attention"]
_SLIDING = ["sliding_attention", "full_attention"] * 2
_SSM = {"mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_chunk_size": 8}
_MIXED = {"num_kv_shared_layers": 0, "layer_types": _SLIDING, "head_dim": 16}
_OWN: dict[str, dict[str, Any]] = {
    "bamba": {**_SSM, "attn_layer_indices": [1, 3]},
    "deepseek_v2": {"num_experts_per_tok": 2, "first_k_dense_replace": 1, "head_dim": 8},
    "deepseek_v32": {"head_dim": 8, "index_topk": 8, "index_head_dim": 16, "index_n_heads": 4},
    "ernie4_5_moe": {"moe_k": 2, "moe_num_experts": 4, "moe_layer_end_index": 3},
    "falcon_h1": {**_SSM, "mamba_d_ssm": 128},
    "gemma3n_text": {**_MIXED, "activation_sparsity_pattern": [0.95, 0.0, 0.0, 0.0]},
    "gemma4_text": _MIXED,
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "granitemoehybrid": {**_SSM, "layer_types": ["mamba", "attention"] * 2},
    "hunyuan_v1_dense": {"head_dim": 16},
    "hunyuan_v1_moe": {"head_dim": 16},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "mamba_dt_rank": 4},
    "lfm2": {"layer_types": _CONV},
    "lfm2_moe": {"layer_types": _CONV},
    "longcat_flash": {"head_dim": 8, "moe_topk": 2},
    "mamba2": {"num_heads": 8, "head_dim": 16, "n_groups": 1, "state_size": 8, "chunk_size": 8},
    "ministral": {"head_dim": 16},
    "nemotron": {"num_key_value_heads": 2},
    "recurrent_gemma": {"lru_width": 64},
}


def _shrunk(config: PretrainedConfig) -> dict[str, Any]:
    """Return the settings with which a configuration is made, small."""
    plain = config.to_dict()
    found: dict[str, Any] = {}
    for key, value in plain.items():
        if key not in inspect.signature(type(config).__init__).parameters:
            continue  # follows from others
        if isinstance(getattr(config, key, None), PretrainedConfig):
            found[key] = _shrunk(getattr(config, key))
        elif isinstance(value, bool) or value is None:
            continue
        elif isinstance(value, int):
            found[key] = _small(key, value)
        elif isinstance(value, list) and len(value) == _layers(config):
            found[key] = _first_of_each(value)
    return found


def _small(key: str, value: int) -> int:
    if key.endswith("_id"):
        return min(value, VOCABULARY - 1)
    for words, size in _SIZES:
        if all(word in key for word in words):
            return min(value, size)
    return value


def _layers(config: PretrainedConfig) -> int:
    return int(getattr(config, "num_hidden_layers", 0) or 0)


def _first_of_each(values: list[Any]) -> list[Any]:
    """Return LAYERS values with every kind that there is."""
    kinds = list(dict.fromkeys(map(str, values)))
    firsts = [values[list(map(str, values)).index(kind)] for kind in kinds]
    return (firsts + values)[:LAYERS]
