"""MT-Bench as a benchmark of the suite: answers to two-turn questions, graded turn by turn."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from core.benchmarks import BENCHMARKS
from core.stages import Stage
from evaluation.benchmark import Benchmark, EvaluationItem
from evaluation.judge import JUDGED_BY
from evaluation.mt_bench.grading import answer, judge_turns
from evaluation.mt_bench.questions import load_questions, question_sources
from evaluation.mt_bench.scores import scores
from judges.bounds import JudgeBound, PromptCount, benchmark_bound

if TYPE_CHECKING:
    from core.benchmarks import Subject
    from core.records import Score
    from core.store import Built, Partial
    from evaluation.run import EvalRun


def evaluate(run: EvalRun, subject: Subject) -> list[Score]:
    """MT-Bench of one model (Tables 2 and 10)."""
    (model,) = subject.models
    address, section = subject.address, run.section.mt_bench
    questions = partial(load_questions, section)
    sources = question_sources(section)

    def make_answers(out: Partial) -> Built:
        engine = run.generator(model, address)
        return answer(engine, questions(), section, seed=run.config.seed, out=out)

    answers = run.rows(
        address,
        Stage.ANSWERS,
        [run.model(model)],
        make_answers,
        sections=(
            "evaluation.mt_bench.limit",
            "evaluation.mt_bench.max_new_tokens",
            "engine.dtype",
        ),
        sources=sources,
    )

    def make_judgments(out: Partial) -> Built:
        return judge_turns(
            run.judge,
            questions(),
            run.read(answers),
            section,
            model=model,
            allowed_failures=run.section.judge.allowed_failures,
            out=out,
        )

    judgments = run.rows(
        address,
        Stage.TURN_JUDGMENTS,
        [answers, *run.judge_inputs()],
        make_judgments,
        sections=(
            *JUDGED_BY,
            "evaluation.mt_bench.draws",
            "evaluation.mt_bench.judge_max_new_tokens",
        ),
        sources=sources | run.judge_sources(),
    )
    return run.scores(
        address, [judgments], lambda: scores(run.read(judgments), seed=run.config.seed)
    )


def _texts(run: EvalRun) -> list[EvaluationItem]:
    whole = run.section.mt_bench.model_copy(update={"limit": None})
    return [
        EvaluationItem("mt_bench", f"{question.question_id}/t{turn}", text)
        for question in load_questions(whole)
        for turn, text in enumerate(question.turns, start=1)
    ]


def _bound(run: EvalRun, _: Subject) -> JudgeBound:
    texts = [" ".join(question.turns) for question in load_questions(run.section.mt_bench)]
    return benchmark_bound(run.config, "mt_bench", PromptCount.of(texts))


def _columns(_: Subject) -> tuple[str, ...]:
    return ("overall", "turn_1", "turn_2")


BENCHMARK = Benchmark(
    BENCHMARKS["mt_bench"], evaluate, texts=_texts, bound=_bound, columns=_columns
)
