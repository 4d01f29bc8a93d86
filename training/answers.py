"""A model's answers to an iteration's prompts, and the judgments of them, as artifacts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.candidate_judge import JudgeSource, candidate_judge
from training.data import candidates

if TYPE_CHECKING:
    from core.records import Prompt
    from core.stages import Ref
    from core.store import Built, Partial
    from training.run import Run


def kept(run: Run, prompts: Ref) -> list[Prompt]:
    """Return the prompts that passed the filter."""
    return [prompt for prompt in run.read(prompts) if prompt.kept]


def answer(run: Run, prompts: Ref, model: Ref, answers: Ref, *, letter: str = "a") -> None:
    """Let a model answer the prompts; `letter` as of `candidates.sample_candidates`."""
    run.rows(
        answers,
        [prompts, model],
        lambda out: candidates.sample_candidates(
            run.engines.model(model, answers), kept(run, prompts), run.config, out, letter=letter
        ),
    )


def judge(run: Run, prompts: Ref, answers: Ref, judged: Ref) -> JudgeSource:
    """Let the judge of the iteration (`improvement.judge`) score answers; return the judge."""
    source = candidate_judge(run, judged.iteration)

    def make(out: Partial) -> Built:
        with source.open(judged) as opened:
            return candidates.judge_candidates(opened, kept(run, prompts), run.read(answers), out)

    inputs = [prompts, answers, *source.inputs]
    run.rows(judged, inputs, make, sources=source.sources, sections=source.sections)
    return source
