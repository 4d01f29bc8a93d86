from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from core.config import Config, load_config
from core.errors import ConfigError
from core.stages import Ref, Stage, model_ref
from tests.conftest import ROOT
from training import models
from training.data.seed import validation_prompts
from training.run import Run


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
