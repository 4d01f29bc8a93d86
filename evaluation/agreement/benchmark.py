"""Reward modelling as a benchmark of the suite: a model judges replies that humans ranked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.benchmarks import BENCHMARKS
from core.stages import HOW_JUDGED, Ref, Stage
from evaluation.agreement.scores import scores
from evaluation.benchmark import Benchmark, EvaluationItem
from judges.ranked_replies import judge_ranked, of_split

if TYPE_CHECKING:
    from core.benchmarks import Subject
    from core.records import RankedPrompt, Score
    from core.store import Built, Partial
    from evaluation.run import EvalRun

_RANKED = Ref(1, Stage.RANKED)


def evaluate(run: EvalRun, subject: Subject) -> list[Score]:
    """A model as a judge against the human rankings (Table 4)."""
    (model,) = subject.models
    address, section = subject.address, run.section.agreement

    def prompts() -> list[RankedPrompt]:
        return of_split(run.read(_RANKED), "eval", section.limit)

    def make(out: Partial) -> Built:
        return judge_ranked(
            run.engine(model, address, Stage.RANKED_JUDGMENTS),
            prompts(),
            run.config.judge,
            draws=section.draws,
            seed=run.config.seed,
            title=f"{model} judges the EFT evaluation split",
            out=out,
        )

    judgments = run.rows(
        address,
        Stage.RANKED_JUDGMENTS,
        [_RANKED, run.model(model)],
        make,
        sections=(*HOW_JUDGED, "evaluation.agreement", "engine.dtype"),
    )
    return run.scores(
        address,
        [judgments, _RANKED],
        lambda: scores(prompts(), run.read(judgments), seed=run.config.seed),
    )


def _texts(run: EvalRun) -> list[EvaluationItem]:
    ranked: list[RankedPrompt] = run.read(_RANKED)
    return [EvaluationItem("agreement", p.key, p.prompt) for p in ranked if p.split == "eval"]


BENCHMARK = Benchmark(BENCHMARKS["agreement"], evaluate, texts=_texts)
