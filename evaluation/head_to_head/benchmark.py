"""Head to head as a benchmark of the suite: each model's answers, then one verdict per prompt."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from core.benchmarks import BENCHMARKS
from core.hashing import sha256_file
from core.records import Score
from core.stages import Stage
from evaluation.benchmark import Benchmark, EvaluationItem
from evaluation.generate import answers_to, mean_characters
from evaluation.head_to_head.verdicts import Side, judge_matchup, scores
from evaluation.judge import JUDGED_BY
from evaluation.prompts import load_prompts, prompts_file
from judges.bounds import JudgeBound, PromptCount, benchmark_bound
from judges.pair_prompts import pair_prompt

if TYPE_CHECKING:
    from core.benchmarks import Subject
    from core.records import Generation, Verdict
    from core.stages import Ref
    from core.store import Built, Partial
    from evaluation.run import EvalRun


def evaluate(run: EvalRun, subject: Subject) -> list[Score]:
    """Compare two models on the test prompts (Figure 3), or answer them with one model.

    Answering is a step of its own so that it happens while the model is loaded.
    """
    if len(subject.models) == 1:
        return _answer_lengths(run.read(_answers(run, *subject.models)))
    left, right = refs = [_answers(run, name) for name in subject.models]
    section = run.section

    def sides() -> tuple[Side, Side]:
        one, other = (
            Side(name, {row.prompt_key: row for row in run.read(ref)})
            for name, ref in zip(subject.models, refs, strict=True)
        )
        return one, other

    def make(out: Partial) -> Built:
        return judge_matchup(
            run.judge,
            *sides(),
            pair_prompt(section.head_to_head.prompt),
            allowed_failures=section.judge.allowed_failures,
            out=out,
        )

    verdicts = run.rows(
        subject.ref(Stage.VERDICTS),
        [left, right, *run.judge_inputs()],
        make,
        sections=(*JUDGED_BY, "evaluation.head_to_head.prompt"),
        sources=run.judge_sources(),
    )

    def measure() -> list[Score]:
        rows: list[Verdict] = run.read(verdicts)
        one, other = sides()
        lengths = {
            key: (len(one.answers[key].text), len(other.answers[key].text))
            for key in one.answers.keys() & other.answers.keys()
        }
        return scores(rows, lengths, seed=run.config.seed)

    return run.scores(subject, [verdicts, left, right], measure)


def _answers(run: EvalRun, model: str) -> Ref:
    """Return a model's answers to the head-to-head prompts."""
    section = run.section.head_to_head
    load = partial(load_prompts, section.prompts, section.limit)
    sources = {"prompts": sha256_file(prompts_file(section.prompts))}
    return answers_to(run, model, "head_to_head", load, sources)


def _answer_lengths(answers: list[Generation]) -> list[Score]:
    """Return the mean length of a model's answers, the only number before they are compared."""
    unanswered = sum(row.finish == "too_long" for row in answers)
    n = len(answers) - unanswered
    return [Score("mean_characters", mean_characters(answers), n, unanswered)]


def _texts(run: EvalRun) -> list[EvaluationItem]:
    prompts = load_prompts(run.section.head_to_head.prompts, None)
    return [EvaluationItem("head_to_head", prompt.key, prompt.text) for prompt in prompts]


def _bound(run: EvalRun, subject: Subject) -> JudgeBound:
    if len(subject.models) == 1:
        return JudgeBound("head_to_head")
    section = run.section.head_to_head
    texts = [prompt.text for prompt in load_prompts(section.prompts, section.limit)]
    return benchmark_bound(run.config, "head_to_head", PromptCount.of(texts))


def _columns(subject: Subject) -> tuple[str, ...]:
    one_model = len(subject.models) == 1
    return ("mean_characters",) if one_model else ("win", "tie", "lose", "sign_test")


BENCHMARK = Benchmark(
    BENCHMARKS["head_to_head"], evaluate, texts=_texts, bound=_bound, columns=_columns
)
