"""Reward modelling as a benchmark of the suite: a model judges replies that humans ranked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.benchmarks import BENCHMARKS
from core.stages import HOW_JUDGED, Ref, Stage
from evaluation.agreement.scores import scores
from evaluation.benchmark import Benchmark, EvaluationItem
from judges.pointwise import judge_ranked, of_split

if TYPE_CHECKING:
    from core.benchmarks import Subject
    from core.records import RankedPrompt, Score
    from evaluation.run import EvalRun

_RANKED = Ref(1, Stage.RANKED)


def evaluate(run: EvalRun, subject: Subject) -> list[Score]:
    """A model as a judge against the human rankings (Table 4)."""
    (model,) = subject.models
    section, ref = run.section.agreement, subject.ref(Stage.RANKED_JUDGMENTS)

    def prompts() -> list[RankedPrompt]:
        return of_split(run.read(_RANKED), "eval", section.limit)

    judgments = run.rows(
        ref,
        [_RANKED, run.model(model)],
        lambda out: judge_ranked(
            run.engine(model, ref),
            prompts(),
            run.config.judge,
            draws=section.draws,
            seed=run.config.seed,
            title=f"{model} judges the EFT evaluation split",
            out=out,
        ),
        sections=(*HOW_JUDGED, "evaluation.agreement", "engine.dtype"),
    )
    return run.scores(
        subject,
        [judgments, _RANKED],
        lambda: scores(prompts(), run.read(judgments), seed=run.config.seed),
    )


def _texts(run: EvalRun) -> list[EvaluationItem]:
    ranked: list[RankedPrompt] = run.read(_RANKED)
    return [EvaluationItem("agreement", p.key, p.prompt) for p in ranked if p.split == "eval"]


BENCHMARK = Benchmark(BENCHMARKS["agreement"], evaluate, texts=_texts)
