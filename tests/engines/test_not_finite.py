"""Models that a diverged training left: refused, never evaluated."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from core.config import EngineSection
from core.errors import ModelError
from core.records import user
from engines.engine import Continuation, Decoding, Request
from engines.hf import ways
from engines.hf.engine import HFEngine
from engines.models import load_model

SECTION = EngineSection(device="cpu", dtype="float32")


def altered(tiny: Path, target: Path, name: str, value: float) -> Path:
    """A copy of the model with one element, or for "lm_head" all, of a weight replaced."""
    shutil.copytree(tiny, target)
    weights = load_file(target / "model.safetensors")
    if name == "lm_head.weight":
        weights[name].fill_(value)
    else:
        weights[name].view(-1)[3] = value
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    return target


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_one_weight_that_is_no_number_is_enough_to_refuse_a_model(
    tiny: Path, tmp_path: Path, value: float
) -> None:
    folder = altered(tiny, tmp_path / "m", "model.norm.weight", value)
    with pytest.raises(ModelError, match=r"1 of \d+ weights are NaN or infinite, model\.norm"):
        HFEngine(folder, SECTION)


def test_finite_weights_whose_outputs_are_not_are_refused(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 3e38 is finite in float32; sums of products with it are not.
    folder = altered(tiny, tmp_path / "m", "lm_head.weight", 3e38)
    monkeypatch.setattr(ways, "_chosen", {})
    with pytest.raises(ModelError, match="outputs are NaN or infinite"):
        HFEngine(folder, SECTION)
    HFEngine(tiny, SECTION)  # another model of the kind: from now on none is tried when loaded
    engine = HFEngine(folder, SECTION)
    with pytest.raises(ModelError, match="outputs are NaN or infinite"):
        list(engine.sample([Request("k", user("Hi"))], Decoding(0.0, 1.0, 4, seed=0)))
    with pytest.raises(ModelError, match="outputs are NaN or infinite"):
        engine.score([Continuation("The", " fox")])


def test_large_finite_weights_are_no_fault(tiny: Path, tmp_path: Path) -> None:
    folder = altered(tiny, tmp_path / "m", "model.norm.weight", torch.finfo(torch.float32).max)
    load_model(folder, torch.float32)
