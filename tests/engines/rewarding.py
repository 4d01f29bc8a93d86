"""A reward model for tests: a tiny sequence classifier with random weights, made on the spot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForSequenceClassification


def make_reward_model(tiny: Path, folder: Path, *, pad: int | None = 0, **more: Any) -> Path:
    """Write a classifier with the tokenizer of the folder `tiny`; `pad`: its pad token."""
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    config = LlamaConfig(
        vocab_size=json.loads((tiny / "config.json").read_text())["vocab_size"],
        num_attention_heads=2,
        num_key_value_heads=1,
        pad_token_id=pad,
        eos_token_id=tokenizer.eos_token_id,
        **{"num_labels": 1, "max_position_embeddings": 2048, **sizes, **more},
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForSequenceClassification(config)
    torch.nn.init.normal_(model.score.weight, std=1.0, generator=torch.Generator().manual_seed(1))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
