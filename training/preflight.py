"""Checks before a run of everything that its later stages need."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from core.benchmarks import FIRST_FEEDBACK_ITERATION
from core.config import SMOOTHED
from core.errors import ConfigError
from core.progress import say
from core.stages import model_ref
from core.store import Store
from engines.embedded import base_folder
from engines.opening import check_installed
from judges.distribution import points
from judges.meta.comparing import check_meta_prompt
from judges.rubrics import load_rubric
from judges.rubrics.pair_rubrics import load_pair_rubric
from training.candidate_judge import check_candidate_judge
from training.data.prompts import prompts_source
from training.data.seed import eft_source, ift_source, validation_prompts
from training.launch.command import check_launch
from training.models import check_named
from training.run import EXTERNAL
from training.seed_stages import IFT, RANKED, check_given, seed_stages

if TYPE_CHECKING:
    from collections.abc import Collection

    from core.config import Config
    from core.stages import Ref
    from training.run import Run


def check_files(config: Config, k: int) -> None:
    """Check every file and folder that a run up to M_k needs; for dry runs, too.

    Raises:
        ConfigError: a file or folder does not exist.
        DataError: a data file is empty, the validation prompts cannot be read, or a rubric does not
            say what it should.
    """
    wanted = seed_stages(config)
    for ref, source in ((IFT, ift_source(config)), (RANKED, eft_source(config))):
        if ref in wanted:
            source.check()
    for _, own in config.own_settings(k):
        _check_rubrics(own)
    template = config.model.chat_template
    if template and not Path(template).is_file():
        raise ConfigError(f"model.chat_template = {template}: no such file")
    _check_models(config, wanted)
    if k < FIRST_FEEDBACK_ITERATION:
        return
    for iteration, own in config.own_settings(k):
        _check_iteration(iteration, own)


def _check_iteration(iteration: str, own: Config) -> None:
    """Check what an iteration's settings name: prompts, judges, and how pairs are chosen."""
    if own.prompts.writes:
        check_named(f"{iteration}prompts.generator", own.prompts.generator)
    if own.prompts.takes:
        prompts_source(own).check()
    check_candidate_judge(iteration, own)
    _check_judge_pairs(iteration, own)
    _check_consistency(iteration, own)
    if own.pairs.temporal and own.improvement.method != "dpo":
        raise ConfigError(
            f"{iteration}pairs.rejected_from and chosen_from need improvement.method = 'dpo': "
            f"{own.improvement.method!r} trains on no pairs"
        )
    stopping = own.dpo.early_stopping
    if stopping.enabled and own.improvement.method == "dpo":
        _check_checkpoint_judge(f"{iteration}dpo.early_stopping", own)


def _check_rubrics(config: Config) -> None:
    rubric, stopping = load_rubric(config.judge.rubric), config.dpo.early_stopping
    if config.judge.reading == "expected":
        points(rubric.low, rubric.high, rubric.form)
    if stopping.enabled and stopping.prompt.endswith(".md"):
        load_pair_rubric(stopping.prompt)


def _check_judge_pairs(setting: str, config: Config) -> None:
    section, judge = config.judge_pairs, config.improvement.judge
    if not section.enabled:
        return
    check_meta_prompt(section.prompt, config.judge.reading)
    needed = {
        f"improvement.judge = 'self', not {judge!r}": judge in ("self", "previous"),
        "improvement.method = 'dpo'": config.improvement.method == "dpo",
        "judge.draws of 2 or more": config.judge.draws > 1,
        "judge.temperature above 0": config.judge.temperature > 0,
    }
    for what, given in needed.items():
        if not given:
            message = (
                f"{setting}judge_pairs.enabled trains M_k on different judgments of one answer by "
                f"M_{{k-1}}: it needs {what}"
            )
            raise ConfigError(message)


def _check_consistency(iteration: str, config: Config) -> None:
    """Check that judges of one kind are compared, and that the loss knows what to do with it."""
    dpo, judge = config.dpo, config.improvement.judge
    if config.compares_judges and judge not in ("self", "previous"):
        raise ConfigError(
            f"{iteration}health.consistency and pairs.consistency compare M_{{k-1}} with M_{{k-2}} "
            f"as judges, but {iteration}improvement.judge is {judge!r}: set it to 'self'"
        )
    if config.pairs.consistency == "off":
        return
    if dpo.loss not in SMOOTHED or dpo.label_smoothing:
        losses = " or ".join(map(repr, sorted(SMOOTHED)))
        raise ConfigError(
            f"{iteration}pairs.consistency takes a pair for wrong with its own probability: it "
            f"needs {iteration}dpo.loss {losses} (not {dpo.loss!r}) and dpo.label_smoothing 0 "
            f"(not {dpo.label_smoothing:g})"
        )


def _check_models(config: Config, wanted: Collection[Ref]) -> None:
    """Check the models that are given: M0, and M1 where it is not trained."""
    check_given(config)
    store, given = Store(config.folder), config.m1.model
    if model_ref(0) in wanted and not store.exists(model_ref(0)):
        base_folder(config.model)
    if given == "tiny":
        raise ConfigError("m1.model = 'tiny': the tiny test model is trained, never given")
    if given and not store.exists(model_ref(1)):
        base_folder(config.model.model_copy(update={"base": given}), "m1.model")


def _check_checkpoint_judge(setting: str, config: Config) -> None:
    stopping, judge = config.dpo.early_stopping, config.evaluation.judge
    if stopping.judge != EXTERNAL:
        check_named(f"{setting}.judge", stopping.judge)
    elif judge.backend != "openai":
        raise ConfigError(
            f"{setting}.judge = 'external', but evaluation.judge.backend is {judge.backend!r}; "
            "name the model there, or use backend 'openai'"
        )
    found = len(validation_prompts(config))
    if found < stopping.max_prompts:
        say(
            f"  warning: {setting}.validation = {stopping.validation!r} has {found} prompts, fewer "
            f"than max_prompts = {stopping.max_prompts}: checkpoints are compared on {found}"
        )


def check_settings(run: Run, k: int) -> None:
    """Check every file, package and device that a run up to M_k needs.

    Raises:
        ConfigError: one is missing. Else as `check_files`.
    """
    config = run.config
    check_installed(config.engine)
    check_launch(config)
    check_files(config, k)
    if config.engine.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise ConfigError("engine.device = 'cuda': no CUDA device here; use 'auto' or 'cpu'")
