"""What is asked of an iteration: does its judge flatter itself, does its data hold test items?

Each function returns the scores; artifacts that are there already are not made again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.stages import HOW_JUDGED, Ref, Stage
from evaluation.judge import JUDGED_BY
from evaluation.loop_checks import contamination, evaluation_items, self_judge

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.records import Score
    from core.store import Built, Partial
    from evaluation.loop_checks.contamination import EvaluationItem
    from evaluation.run import EvalRun


def judge_again(run: EvalRun, k: int) -> list[Score]:
    """The external judge on the candidates M_{k-1} judged itself: are we gaming ourselves?"""
    address = f"self_judge/iter{k}"
    prompts, answers = Ref(k, Stage.PROMPTS), Ref(k, Stage.CANDIDATES)
    own, pairs = Ref(k, Stage.JUDGMENTS), Ref(k, Stage.PAIRS)
    section = run.section.self_judge

    def make(out: Partial) -> Built:
        subjects = self_judge.subjects(
            run.read(prompts), run.read(answers), section.limit, seed=run.config.seed
        )
        return self_judge.judge_again(
            run.judge,
            subjects,
            run.config.judge,
            allowed_failures=run.section.judge.allowed_failures,
            out=out,
        )

    external = run.rows(
        address,
        Stage.EXTERNAL_JUDGMENTS,
        [prompts, answers, *run.judge_inputs()],
        make,
        sections=(*JUDGED_BY, *HOW_JUDGED, "evaluation.self_judge"),
        sources=run.judge_sources(),
    )
    return run.scores(
        address,
        [own, external, pairs],
        lambda: self_judge.scores(
            run.read(own), run.read(external), run.read(pairs), seed=run.config.seed
        ),
    )


def overlaps(run: EvalRun, k: int, read_items: Callable[[], list[EvaluationItem]]) -> list[Score]:
    """The prompts of iteration k against every evaluation set, which `read_items` returns."""
    address, prompts = f"contamination/iter{k}", Ref(k, Stage.PROMPTS)
    items = read_items()

    def make(out: Partial) -> Built:
        kept = [(p.key, p.text) for p in run.read(prompts) if p.kept]
        return contamination.find_overlaps(kept, items, run.section.contamination, out)

    flags = run.rows(
        address,
        Stage.FLAGS,
        [prompts],
        make,
        sections=("evaluation.contamination",),
        sources={"items": evaluation_items.digest(items)},
    )
    kept = sum(p.kept for p in run.read(prompts))
    return run.scores(
        address, [flags, prompts], lambda: contamination.scores(run.read(flags), kept)
    )
