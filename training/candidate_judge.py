"""Who judges the candidates of an iteration (`improvement.judge`): what its judgments depend on."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from core.errors import ConfigError
from core.stages import SPECS, Stage
from engines.reward_model import is_reward_model
from judges.backends.opening import JUDGED_BY
from judges.candidate_judges import (
    CandidateJudge,
    ExternalRubricJudge,
    RewardJudge,
    RubricJudge,
    VerifierJudge,
)
from judges.verifiers import read_checks
from training.data.prompts import prompts_source
from training.models import (
    check_named,
    external_sources,
    local_model,
    named_source,
    opened_external,
)
from training.run import EXTERNAL, VERIFIER, is_run_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from core.config import Config
    from core.stages import Ref
    from judges.verifiers import Verdict
    from training.run import Run

Kind = Literal["model", "reward", "external", "verifier"]
_BY_RUBRIC = SPECS[Stage.JUDGMENTS].sections


class JudgeSource(NamedTuple):
    """A judge of candidates: the artifacts, files and settings it depends on, and how to open it.

    `pointed`: whether its scores are points of a rubric.
    """

    inputs: list[Ref]
    sources: dict[str, str]
    sections: tuple[str, ...]
    pointed: bool
    open: Callable[[Ref], AbstractContextManager[CandidateJudge]]


def judge_kind(config: Config) -> Kind:
    """Return what `improvement.judge` names."""
    name = config.improvement.judge
    if name in (EXTERNAL, VERIFIER):
        return "external" if name == EXTERNAL else "verifier"
    own = is_run_model(name)
    return "reward" if not own and is_reward_model(Path(name).expanduser()) else "model"


def candidate_judge(run: Run, k: int) -> JudgeSource:
    """Return the judge of iteration k's candidates.

    Raises:
        ConfigError: there is no such model, or no answers for a verifier.
    """
    kind = judge_kind(run.config)
    make = {"model": _model, "reward": _reward, "external": _external, "verifier": _verifier}[kind]
    return make(run, k)


def check_candidate_judge(setting: str, config: Config) -> None:
    """Check, before anything is made, that the judge of candidates can be opened.

    Raises:
        ConfigError, DataError: it cannot; the message names the setting, or file and line.
    """
    name, kind = config.improvement.judge, judge_kind(config)
    setting = f"{setting}improvement"
    if kind == "verifier":
        _checks(config)
    elif kind == "external":
        if config.evaluation.judge.backend != "openai":
            message = (
                f"{setting}.judge = 'external' is the server that evaluation.judge names, but its "
                f"backend is {config.evaluation.judge.backend!r}; name the model in {setting}.judge"
            )
            raise ConfigError(message)
    elif kind == "model" and not is_run_model(name):
        check_named(f"{setting}.judge", name)
    if kind == "reward" and config.improvement.method == "positive_only":
        message = (
            f"{setting}.method = 'positive_only' adds answers with the highest score, and a reward "
            "model has none; use 'dpo', or a judge that follows a rubric"
        )
        raise ConfigError(message)


def _model(run: Run, k: int) -> JudgeSource:
    source = named_source(run, "improvement.judge", run.config.improvement.judge, k)

    @contextmanager
    def opened(stage: Ref) -> Iterator[CandidateJudge]:
        yield RubricJudge(source.open(stage), run.config.judge, seed=run.config.seed)

    return JudgeSource(source.inputs, source.sources, _BY_RUBRIC, pointed=True, open=opened)


def _reward(run: Run, k: int) -> JudgeSource:  # noqa: ARG001 - as the others
    name = run.config.improvement.judge
    ((folder, digest),) = local_model(run, name).items()

    @contextmanager
    def opened(stage: Ref) -> Iterator[CandidateJudge]:  # noqa: ARG001 - logs no calls
        from engines.models import release_memory
        from engines.reward_model import RewardModel

        run.engines.clear()  # the reward model needs the memory
        models = run.config.model
        model = RewardModel(
            Path(name).expanduser(),
            run.config.engine,
            weights_sha256=digest,
            trust_remote_code=models.trust_remote_code,
            date=models.date,
        )
        yield RewardJudge(model)
        del model
        release_memory()

    judge = {folder.replace("folder:", "judge:", 1): digest}
    return JudgeSource([], judge, ("improvement.judge", "engine.dtype"), pointed=False, open=opened)


def _external(run: Run, k: int) -> JudgeSource:  # noqa: ARG001 - as the others
    section = run.config.evaluation.judge

    @contextmanager
    def opened(stage: Ref) -> Iterator[CandidateJudge]:  # noqa: ARG001 - logs no calls
        with opened_external(run) as judge:
            yield ExternalRubricJudge(
                judge,
                run.config.judge,
                reading=run.config.judge.reading,
                allowed_failures=section.allowed_failures,
            )

    sections = (*_BY_RUBRIC, *JUDGED_BY)
    return JudgeSource([], external_sources(run.config), sections, pointed=True, open=opened)


def _verifier(run: Run, k: int) -> JudgeSource:  # noqa: ARG001 - as the others
    config = run.config

    @contextmanager
    def opened(stage: Ref) -> Iterator[CandidateJudge]:  # noqa: ARG001 - logs no calls
        yield VerifierJudge(_checks(config))

    sources = prompts_source(config).content()
    return JudgeSource([], sources, ("improvement.judge",), pointed=False, open=opened)


def _checks(config: Config) -> dict[str, Callable[[str], Verdict]]:
    """Return what says which answers to the prompts are right, from the prompts' source."""
    if config.prompts.writes:
        message = (
            "improvement.judge = 'verifier' needs prompts whose right answers are known: let "
            'prompts.source name rows with "prompt" and "answer" (as in GSM8K), or in IFEval\'s '
            "schema"
        )
        raise ConfigError(message)
    source = prompts_source(config)
    return read_checks(source.rows(), source.origin)
