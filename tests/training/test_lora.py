from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from core.config import DpoSection, EarlyStoppingSection, JudgeSection, LoraSection
from core.hashing import model_files
from core.sources.thread import Thread
from core.stages import Ref, Stage
from engines.models import load_model
from tests.engines.scripted import ScriptedEngine
from tests.training import together
from tests.training.test_models import run_of
from training import models
from training.trainers import trl_loop
from training.trainers.dpo import train_dpo
from training.trainers.early_stopping import CheckpointJudge
from training.trainers.sft import train_sft
from training.trainers.weights import lora_config, weights_of

LORA = LoraSection(enabled=True, r=2, alpha=4.0, target_modules=("q_proj", "v_proj"))


def changed(before: Path, after: Path) -> dict[str, torch.Tensor]:
    """The weights that differ between two model folders, and by how much."""
    a, b = (load_model(folder, torch.float32).state_dict() for folder in (before, after))
    assert a.keys() == b.keys()
    return {name: b[name] - a[name] for name in a if not torch.equal(a[name], b[name])}


def adapters(checkpoint: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoint / "adapter_model.safetensors")


def test_what_is_left_is_an_ordinary_model_with_the_adapters_product_added(
    tiny: Path, tmp_path: Path
) -> None:
    job = together.job(tiny, tmp_path, lora=LORA)
    train_sft(job, together.ROWS)
    folder = job.model
    assert [file.name for file in model_files(folder)] == [f.name for f in model_files(tiny)]
    moved = changed(tiny, folder)
    # Two layers, and of each the two matrices that were named: nothing else moved.
    assert set(moved) == {
        f"model.layers.{layer}.self_attn.{name}.weight"
        for layer in (0, 1)
        for name in ("q_proj", "v_proj")
    }
    # W + (alpha / r) B A, by hand from the last checkpoint's adapters; alpha / r = 4 / 2.
    trained = adapters(tmp_path / "work" / "checkpoint-6")
    for name, difference in moved.items():
        prefix = f"base_model.model.{name.removesuffix('.weight')}"
        product = trained[f"{prefix}.lora_B.weight"] @ trained[f"{prefix}.lora_A.weight"]
        assert torch.allclose(difference, 2.0 * product, atol=1e-6)
        assert torch.linalg.matrix_rank(product) == 2


def test_training_with_adapters_is_resumed_to_the_same_weights(tiny: Path, tmp_path: Path) -> None:
    whole = together.job(tiny, tmp_path / "whole", lora=LORA)
    train_sft(whole, together.ROWS)
    again = together.job(tiny, tmp_path / "part", lora=LORA)
    again.work.rmdir()
    whole.work.rename(again.work)  # the last checkpoint gone: as if killed after step 4
    again.metrics.write_text(
        "".join(json.dumps(s) + "\n" for s in together.steps(tmp_path / "whole"))
    )
    whole_weights = load_model(again.model, torch.float32).state_dict()
    (again.work / "checkpoint-6" / "srlm_complete").unlink()
    train_sft(again, together.ROWS)
    for name, weight in load_model(again.model, torch.float32).state_dict().items():
        assert torch.equal(weight, whole_weights[name]), name
    assert together.steps(tmp_path / "part") == together.steps(tmp_path / "whole")


def first_step(
    tmp_path: Path, policy: Path, reference: Path | None, lora: LoraSection = LORA
) -> dict[str, float]:
    section = together.DPO.model_copy(update={"max_steps": 1})
    job = together.job(policy, tmp_path, reference=reference, dpo=section, lora=lora)
    train_dpo(job, together.PAIRS)
    return together.steps(tmp_path)[0]


def test_the_reference_of_adapters_is_the_model_without_them_or_the_one_configured(
    tiny: Path, tmp_path: Path
) -> None:
    from engines.embedded import make_tiny

    # A fresh adapter's product is 0, so the policy is its own reference: loss log 2, no margin.
    own = first_step(tmp_path / "own", tiny, None)
    assert own["loss"] == pytest.approx(0.693147, abs=1e-5)
    assert own["rewards/margins"] == pytest.approx(0.0, abs=1e-6)
    other = tmp_path / "other"
    make_tiny(other, ["The quick brown fox jumps over the lazy dog. Score: 4"] * 3, seed=9)
    held = first_step(tmp_path / "held", tiny, other)
    assert abs(held["rewards/margins"]) > 1e-3
    # The reference's own log-probabilities: the policy's minus reward / beta, as without adapters.
    plain = first_step(tmp_path / "plain", tiny, other, LoraSection())
    assert held["rewards/chosen"] == pytest.approx(plain["rewards/chosen"], abs=1e-4)


def test_judged_checkpoints_of_adapters_are_whole_models(tiny: Path, tmp_path: Path) -> None:
    opened: list[Path] = []

    def open_policy(folder: Path) -> ScriptedEngine:
        opened.append(folder)
        # Loads; only M_t is the model that training began with.
        assert bool(changed(tiny, folder)) is (folder != tiny)
        return ScriptedEngine(lambda messages, draw: "the same", name=folder.name)

    section = DpoSection(
        **together.DPO.model_dump(exclude={"early_stopping"}),
        early_stopping=EarlyStoppingSection(prompt="pointwise", every_steps=3, patience=9),
    )
    job = together.job(tiny, tmp_path, dpo=section, lora=LORA)
    judge = CheckpointJudge(
        section.early_stopping,
        JudgeSection(draws=1),
        [Thread("v", "Question?", (), None)],
        seed=0,
        log=tmp_path / "log.jsonl",
        work=job.work,
        start=job.policy,
        open_judge=lambda: ScriptedEngine(lambda messages, draw: "Score: 3", name="judge"),
        open_policy=open_policy,
    )
    result = train_dpo(job, together.PAIRS, judge)
    checkpoints = [job.work / f"checkpoint-{step}" / "model" for step in (3, 6)]
    assert opened == [job.policy, *checkpoints]
    # Equal answers tie, and of equals the last is kept.
    assert result.facts["kept_step"] == 6
    last = trl_loop.last_checkpoint(job.work)
    assert last is not None
    assert not changed(weights_of(last), job.model)


def test_adapters_belong_to_the_key_of_a_model_only_where_they_are_used(tmp_path: Path) -> None:
    plain, adapted = run_of(tmp_path), run_of(tmp_path, "lora.enabled=true")
    for run in (plain, adapted):
        models.train_baseline(run, Ref(1, Stage.IFT))
        models.improve(run, 2, Ref(2, Stage.PAIRS))
    assert ["lora" in made.sections for made in plain.made] == [False, False]
    assert ["lora" in made.sections for made in adapted.made] == [True, True]


@pytest.mark.parametrize("modules", [("lm_head",), ("q_proj", "lm_head"), ()])
def test_an_adapter_on_the_output_layer_is_refused(modules: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError, match="would never be trained"):
        LoraSection(target_modules=modules)


def test_the_settings_reach_peft() -> None:
    assert lora_config(LoraSection()) is None
    given: Any = lora_config(LoraSection(enabled=True, r=3, alpha=7.5, dropout=0.25))
    assert (given.r, given.lora_alpha, given.lora_dropout) == (3, 7.5, 0.25)
    assert given.target_modules == "all-linear"
