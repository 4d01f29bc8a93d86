"""Benchmarks with right answers: NLP tasks, and a model's judging against human rankings.

Each function returns the scores; artifacts that are there already are not made again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.stages import HOW_JUDGED, Ref, Stage
from evaluation.agreement import scores as agreement
from evaluation.nlp import data as nlp_data
from evaluation.nlp import tasks as nlp
from judges.ranked_replies import judge_ranked, of_split

if TYPE_CHECKING:
    from core.records import Score
    from core.store import Built, Partial
    from evaluation.run import EvalRun


def nlp_task(run: EvalRun, model: str, task: str) -> list[Score]:
    """One NLP benchmark of one model (Tables 3 and 9)."""
    address, section = f"{model}/nlp/{task}", run.section.nlp

    def make(out: Partial) -> Built:
        # lm-eval hands out items when a task is done; what was generated survives a kill before.
        engine = run.generator(model, address, Stage.ITEMS)
        return nlp.run_task(engine, task, section, seed=run.config.seed, out=out)

    items = run.rows(
        address,
        Stage.ITEMS,
        [run.model(model)],
        make,
        sections=("evaluation.nlp.limit", "evaluation.nlp.data_dir", "engine.dtype"),
        sources=nlp_data.source_hashes(task, section.data_dir),
    )
    return run.scores(address, [items], lambda: nlp.scores(run.read(items), task))


def agree(run: EvalRun, model: str) -> list[Score]:
    """A model as a judge against the human rankings (Table 4)."""
    address, ranked_replies = f"{model}/agreement", Ref(1, Stage.RANKED)
    section = run.section.agreement

    def make(out: Partial) -> Built:
        return judge_ranked(
            run.engine(model, address, Stage.RANKED_JUDGMENTS),
            of_split(run.read(ranked_replies), "eval", section.limit),
            run.config.judge,
            draws=section.draws,
            seed=run.config.seed,
            title=f"{model} judges the EFT evaluation split",
            out=out,
        )

    judgments = run.rows(
        address,
        Stage.RANKED_JUDGMENTS,
        [ranked_replies, run.model(model)],
        make,
        sections=(*HOW_JUDGED, "evaluation.agreement", "engine.dtype"),
    )

    def measure() -> list[Score]:
        prompts = of_split(run.read(ranked_replies), "eval", section.limit)
        return agreement.scores(prompts, run.read(judgments), seed=run.config.seed)

    return run.scores(address, [judgments, ranked_replies], measure)
