from __future__ import annotations

import shutil
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from core.config import Config, load_config
from core.errors import ConfigError, StaleArtifact
from core.stages import Ref, Stage, model_ref
from core.store import Key, Store
from tests.conftest import ROOT
from training import models
from training.data.seed import validation_prompts
from training.run import Run
from training.trainers.job import TrainingJob


class Made(NamedTuple):
    """What a model stage asked of the run."""

    ref: Ref
    inputs: list[Ref]
    sections: tuple[str, ...]


class RecordingRun(Run):
    """A run that notes model stages instead of training them."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.made: list[Made] = []

    def model(  # type: ignore[override]
        self, ref: Ref, inputs: Any, *_: Any, sections: Any = (), **__: Any
    ) -> Ref:
        self.made.append(Made(ref, list(inputs), tuple(sections)))
        return ref


def run_of(tmp_path: Path, *settings: str) -> RecordingRun:
    return RecordingRun(
        load_config(ROOT / "configs" / "smoke.toml", [f"out_dir={tmp_path}", *settings])
    )


class MakingRun(RecordingRun):
    """A run that makes its model stages, from no rows."""

    def model(  # type: ignore[override]
        self, ref: Ref, inputs: Any, make: Any, *_: Any, **__: Any
    ) -> Ref:
        self.made.append(Made(ref, list(inputs), ()))
        make()
        return ref

    def job(  # type: ignore[override]
        self, ref: Ref, _policy: Ref, **more: Any
    ) -> TrainingJob:
        work = self.store.paths.work(ref)
        given = {"seed": 0, "device": "cpu", "work": work, "metrics": work / "m", "title": str(ref)}
        return TrainingJob(policy=work, **(given | more))

    def read(self, ref: Ref) -> list[Any]:  # noqa: ARG002 - no artifact has rows
        return []

    def key(self, *_: Any) -> Key:  # type: ignore[override]
        return Key({}, {}, 0)


@pytest.mark.parametrize(
    ("settings", "gpu", "expected"),
    [
        (["engine.device=auto"], True, ["here", "here"]),
        (["engine.device=auto", "engine.kind=vllm"], False, ["here", "here"]),  # vLLM's CPU build
        (["engine.device=cpu", "engine.kind=vllm"], True, ["here", "here"]),
        (["engine.device=auto", "engine.kind=vllm"], True, ["one-gpu", "one-gpu"]),
        (
            ["engine.device=auto", "engine.kind=vllm", "launch.config=fsdp-8"],
            True,
            ["fsdp-8", "fsdp-8"],
        ),
    ],
)
def test_beside_vllm_on_a_gpu_training_has_a_process_of_its_own(
    settings: list[str],
    gpu: bool,
    expected: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    where: list[str] = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
    for name in ("sft.train_sft", "dpo.train_dpo"):
        monkeypatch.setattr(f"training.trainers.{name}", lambda *_: where.append("here"))
    for name in ("train_sft", "train_dpo"):
        monkeypatch.setattr(
            f"training.launch.launch.{name}",
            lambda _job, _rows, section, *_: where.append(section.config),
        )
    config = load_config(ROOT / "configs" / "smoke.toml", [f"out_dir={tmp_path}", *settings])
    run = MakingRun(config)
    models.train_baseline(run, Ref(1, Stage.IFT))
    models.improve(run, 3, PAIRS_3)
    assert where == expected


PAIRS_3 = Ref(3, Stage.PAIRS)


def test_dpo_starts_from_and_is_held_to_the_model_that_made_the_pairs(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    models.improve(run, 3, PAIRS_3)
    (made,) = run.made
    assert made.ref == model_ref(3)
    # M_2 answered and judged; M_0 and M_1 have no part in it.
    assert made.inputs == [PAIRS_3, model_ref(2)]


@pytest.mark.parametrize(("name", "expected"), [("base", model_ref(0)), ("m1", model_ref(1))])
def test_another_reference_is_used_only_if_configured(
    tmp_path: Path, name: str, expected: Ref
) -> None:
    run = run_of(tmp_path, f"dpo.reference={name}")
    models.improve(run, 3, PAIRS_3)
    assert run.made[0].inputs == [PAIRS_3, model_ref(2), expected]


def test_m1_without_eft_is_trained_on_ift_alone(tmp_path: Path) -> None:
    ift, eft = Ref(1, Stage.IFT), Ref(1, Stage.EFT)
    for setting, expected in (("true", [ift, eft]), ("false", [ift])):
        run = run_of(tmp_path, f"m1.use_eft={setting}")
        models.train_m1(run, ift, eft)
        assert run.made[0].inputs == [model_ref(0), *expected]


def test_the_baseline_never_sees_eft_data(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    models.train_baseline(run, Ref(1, Stage.IFT))
    assert run.made[0].inputs == [model_ref(0), Ref(1, Stage.IFT)]


def test_the_positive_only_ablation_starts_from_m0_with_all_feedback_so_far(tmp_path: Path) -> None:
    run = run_of(tmp_path, "improvement.method=positive_only")
    models.improve(run, 3, PAIRS_3)
    inputs = run.made[0].inputs
    assert inputs[:3] == [model_ref(0), Ref(1, Stage.IFT), Ref(1, Stage.EFT)]
    assert {r.iteration for r in inputs[3:]} == {2, 3}
    assert PAIRS_3 not in inputs


def test_prompts_are_written_by_m0_the_last_model_or_a_folder(tmp_path: Path, tiny: Path) -> None:
    assert models.prompt_writer(run_of(tmp_path, "prompts.generator=base"), 3).inputs == [
        model_ref(0)
    ]
    assert models.prompt_writer(run_of(tmp_path, "prompts.generator=self"), 3).inputs == [
        model_ref(2)
    ]
    own = models.prompt_writer(run_of(tmp_path, f"prompts.generator={tiny}"), 3)
    assert own.inputs == []
    # A folder outside the run is identified by its contents.
    assert list(own.sources) == ["folder:tiny"]
    with pytest.raises(ConfigError, match="no such folder"):
        models.prompt_writer(run_of(tmp_path, "prompts.generator=nobody"), 3)


def test_checkpoints_may_be_judged_by_a_model_folder_of_its_own(tmp_path: Path, tiny: Path) -> None:
    run = run_of(tmp_path, f"dpo.early_stopping.judge={tiny}")
    models.improve(run, 3, PAIRS_3)
    assert run.made[0].inputs == [PAIRS_3, model_ref(2)]
    source = models.named_source(run, "dpo.early_stopping.judge", str(tiny), 3)
    # Its contents are part of the key, so another judge is another result.
    assert list(source.sources) == ["folder:tiny"]


def test_validation_prompts_are_those_of_the_validation_split(tmp_path: Path) -> None:
    run = run_of(tmp_path, "dpo.early_stopping.max_prompts=253")
    assert len(validation_prompts(run.config)) == 20
    assert len(validation_prompts(run_of(tmp_path).config)) == 4


# ----- the base model may move


@pytest.fixture
def made(tiny: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A run's out_dir with M0, and the folder that M0 was made from."""
    base = tmp_path / "base"
    shutil.copytree(tiny, base)
    make_base(tmp_path / "runs", base)
    return tmp_path / "runs", base


def make_base(out_dir: Path, base: Path) -> Path:
    config = load_config(
        ROOT / "configs" / "smoke.toml", [f"out_dir={out_dir}", f"model.base={base}"]
    )
    models.make_base(Run(config), Ref(1, Stage.IFT))
    return Store(config.folder).model(model_ref(0)) / "model.safetensors"


def when(out_dir: Path) -> str:
    return Store(out_dir / "smoke").manifest(model_ref(0)).finished_at


def linked(out_dir: Path, base: Path) -> None:
    """As runs were before: M0's weights are a symbolic link to the base model's folder."""
    weights = out_dir / "smoke" / "iter0" / "base" / "model.safetensors"
    weights.unlink()
    weights.symlink_to(base.resolve() / "model.safetensors")


def test_a_base_model_that_moved_is_the_same_if_its_bytes_are(made: tuple[Path, Path]) -> None:
    out_dir, base = made
    began = when(out_dir)
    moved = base.rename(base.with_name("elsewhere"))
    assert make_base(out_dir, moved).is_file()
    assert make_base(out_dir, base).is_file()  # gone: M0 is what the run has
    assert when(out_dir) == began
    (moved / "generation_config.json").write_text("{}")
    with pytest.raises(StaleArtifact, match="iter0/base was made with other settings"):
        make_base(out_dir, moved)


def test_a_link_of_an_older_run_is_found_again_where_the_bytes_are(made: tuple[Path, Path]) -> None:
    out_dir, base = made
    linked(out_dir, base)
    moved = base.rename(base.with_name("elsewhere"))
    with pytest.raises(StaleArtifact, match=r"is a link to .*set model\.base to where"):
        Store(out_dir / "smoke").verify(model_ref(0))
    assert make_base(out_dir, moved).samefile(moved / "model.safetensors")
    Store(out_dir / "smoke").verify(model_ref(0), rehash=True)


def test_a_run_that_was_packed_and_unpacked_elsewhere_is_whole(
    made: tuple[Path, Path], tmp_path: Path
) -> None:
    out_dir, base = made
    with tarfile.open(tmp_path / "run.tar", "w") as packed:
        packed.add(out_dir, "runs")
    shutil.rmtree(out_dir)
    shutil.rmtree(base)
    with tarfile.open(tmp_path / "run.tar") as packed:
        packed.extractall(tmp_path / "far", filter="data")
    assert make_base(tmp_path / "far" / "runs", base).is_file()
    Store(tmp_path / "far" / "runs" / "smoke").verify(model_ref(0), rehash=True)
