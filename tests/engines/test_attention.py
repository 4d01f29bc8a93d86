"""Models whose attention torch's sdpa computes wrongly."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma2Config, Gemma2ForCausalLM

from core.errors import ModelError
from engines.models import attention_of, load_model

IDS = torch.arange(5, 25)[None]


@pytest.fixture
def capped(tmp_path: Path) -> Path:
    """A tiny Gemma 2 whose scores are large, so that its cap of 2 changes them."""
    config = Gemma2Config(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        query_pre_attn_scalar=16,
        attn_logit_softcapping=2.0,
        initializer_range=1.0,
    )
    torch.manual_seed(0)
    Gemma2ForCausalLM(config).save_pretrained(tmp_path / "capped")
    return tmp_path / "capped"


def logits(folder: Path, attention: str) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation=attention
    )
    with torch.inference_mode():
        found: torch.Tensor = model.eval()(IDS).logits
    return found


def test_soft_capped_attention_is_the_models_own(capped: Path) -> None:
    expected = logits(capped, "eager")
    assert (logits(capped, "sdpa") - expected).abs().max() > 0.1  # sdpa leaves out the cap
    model = load_model(capped, torch.float32)
    with torch.inference_mode():
        found = model(IDS).logits
    assert torch.allclose(found, expected, atol=1e-5)


def test_other_models_keep_the_fast_attention(tiny: Path) -> None:
    assert attention_of(load_model(tiny, torch.float32)) == "sdpa"


def test_a_model_without_another_implementation_is_refused_by_name(
    capped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Gemma2ForCausalLM, name: str) -> None:
        raise ValueError(f"no {name}")

    monkeypatch.setattr(Gemma2ForCausalLM, "set_attn_implementation", refuse)
    with pytest.raises(ModelError, match="gemma2 has soft-capped attention, which torch's sdpa"):
        load_model(capped, torch.float32)
