"""Benchmarks of open answers that a judge compares or grades: their artifacts and scores.

Each function returns the scores; artifacts that are there already are not made again.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from core.hashing import sha256_file
from core.records import Score
from core.stages import Ref, Stage, is_model_name
from evaluation import generate
from evaluation.alpaca_eval import annotations as alpaca_eval
from evaluation.alpaca_eval import files as alpaca_files
from evaluation.alpaca_eval import scores as alpaca_scores
from evaluation.alpaca_eval import tags
from evaluation.alpaca_eval.sources import file_source, length_control_source, reference_name
from evaluation.head_to_head import verdicts as head_to_head
from evaluation.judge import JUDGED_BY
from evaluation.mt_bench import grading as mt_bench
from evaluation.mt_bench import questions as mt_bench_questions
from evaluation.mt_bench import scores as mt_bench_scores
from evaluation.prompts import load_prompts, prompts_file
from judges.pair_prompts import pair_prompt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from core.records import Annotation, Generation, TurnJudgment, Verdict
    from core.store import Built, Partial
    from evaluation.run import EvalRun


def answers_to(
    run: EvalRun,
    model: str,
    benchmark: str,
    load: Callable[[], Sequence[generate.Keyed]],
    sources: dict[str, str],
) -> Ref:
    """Return a model's answers to the prompts of a benchmark."""
    address = f"{model}/{benchmark}"

    def make(out: Partial) -> Built:
        return generate.answer(
            run.generator(model, address),
            load(),
            run.section.generation,
            seed=run.config.seed,
            title=f"{model} answers, {benchmark}",
            out=out,
        )

    sections = ("evaluation.generation", "engine.dtype", f"evaluation.{benchmark}.limit")
    inputs = [run.model(model)]
    return run.rows(address, Stage.ANSWERS, inputs, make, sections=sections, sources=sources)


def _test_answers(run: EvalRun, model: str) -> Ref:
    """Return a model's answers to the head-to-head prompts."""
    section = run.section.head_to_head
    return answers_to(
        run,
        model,
        "head_to_head",
        partial(load_prompts, section.prompts, section.limit),
        {"prompts": sha256_file(prompts_file(section.prompts))},
    )


def answer_now(run: EvalRun, model: str) -> list[Score]:
    """Answer the test prompts now, while the model is loaded, and say how long the answers are."""
    answers: list[Generation] = run.read(_test_answers(run, model))
    silent = sum(row.finish == "too_long" for row in answers)
    return [
        Score("mean_characters", generate.mean_characters(answers), len(answers) - silent, silent)
    ]


def match(run: EvalRun, a: str, b: str) -> list[Score]:
    """Compare two models on the test prompts (Figure 3)."""
    address = f"head_to_head/{a}-{b}"
    left, right = _test_answers(run, a), _test_answers(run, b)
    section = run.section

    def sides() -> tuple[head_to_head.Side, head_to_head.Side]:
        texts = [{row.prompt_key: row for row in run.read(ref)} for ref in (left, right)]
        return head_to_head.Side(a, texts[0]), head_to_head.Side(b, texts[1])

    def make(out: Partial) -> Built:
        return head_to_head.judge_matchup(
            run.judge,
            *sides(),
            pair_prompt(section.head_to_head.prompt),
            allowed_failures=section.judge.allowed_failures,
            out=out,
        )

    verdicts = run.rows(
        address,
        Stage.VERDICTS,
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
        return head_to_head.scores(rows, lengths, seed=run.config.seed)

    return run.scores(address, [verdicts, left, right], measure)


def alpaca(run: EvalRun, model: str) -> list[Score]:
    """AlpacaEval 2.0 of one model (Table 1)."""
    address, section = f"{model}/alpaca_eval", run.section.alpaca_eval
    seed = run.config.seed

    def answers_of(name: str) -> Ref:
        load = partial(alpaca_files.load_prompts, section.prompts, section.limit)
        return answers_to(run, name, "alpaca_eval", load, file_source("prompts", section.prompts))

    answers = answers_of(model)
    ours = is_model_name(section.reference)
    reference = [answers_of(section.reference)] if ours else []

    def reference_texts() -> dict[str, str]:
        if ours:
            rows: list[Generation] = run.read(reference[0])
            return {row.prompt_key: row.text for row in rows if row.finish != "too_long"}
        known = alpaca_files.load_reference(section.reference)
        return {alpaca_files.instruction_key(text): output for text, output in known.items()}

    def make(out: Partial) -> Built:
        return alpaca_eval.annotate(
            run.judge,
            run.read(answers),
            reference_texts(),
            names=(reference_name(section), model),
            annotator=section.annotator,
            allowed_failures=run.section.judge.allowed_failures,
            out=out,
        )

    annotations = run.rows(
        address,
        Stage.ANNOTATIONS,
        [answers, *reference, *run.judge_inputs()],
        make,
        sections=(
            *JUDGED_BY,
            "evaluation.alpaca_eval.annotator",
            "evaluation.alpaca_eval.reference",
        ),
        sources=run.judge_sources() | ({} if ours else file_source("reference", section.reference)),
    )
    tagged = _tags(run) if section.tags else None

    def measure() -> list[Score]:
        rows: list[Annotation] = run.read(annotations)
        data = None if section.length_control_data == "none" else section.length_control_data
        return alpaca_scores.scores(
            rows,
            length_control_data=data,
            bootstrap=section.bootstrap,
            seed=seed,
            tags=run.read(tagged) if tagged else None,
        )

    return run.scores(
        address,
        [annotations, *([tagged] if tagged else [])],
        measure,
        sections=("evaluation.alpaca_eval.length_control_data", "evaluation.alpaca_eval.bootstrap"),
        sources=length_control_source(section.length_control_data),
    )


def _tags(run: EvalRun) -> Ref:
    """Return what the judge says of each AlpacaEval instruction (Figures 4 and 11)."""
    section = run.section.alpaca_eval

    def make(out: Partial) -> Built:
        prompts = alpaca_files.load_prompts(section.prompts, section.limit)
        return tags.tag(
            run.judge, prompts, allowed_failures=run.section.judge.allowed_failures, out=out
        )

    return run.rows(
        "tags/alpaca_eval",
        Stage.TAGS,
        run.judge_inputs(),
        make,
        sections=(*JUDGED_BY, "evaluation.alpaca_eval.limit"),
        sources=run.judge_sources() | file_source("prompts", section.prompts),
    )


def mt(run: EvalRun, model: str) -> list[Score]:
    """MT-Bench of one model (Tables 2 and 10)."""
    address, section = f"{model}/mt_bench", run.section.mt_bench
    questions = partial(mt_bench_questions.load_questions, section)
    sources = mt_bench_questions.sources(section)

    def answer(out: Partial) -> Built:
        engine = run.generator(model, address)
        return mt_bench.answer(engine, questions(), section, seed=run.config.seed, out=out)

    answers = run.rows(
        address,
        Stage.ANSWERS,
        [run.model(model)],
        answer,
        sections=(
            "evaluation.mt_bench.limit",
            "evaluation.mt_bench.max_new_tokens",
            "engine.dtype",
        ),
        sources=sources,
    )

    def grade(out: Partial) -> Built:
        return mt_bench.judge_turns(
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
        grade,
        sections=(
            *JUDGED_BY,
            "evaluation.mt_bench.draws",
            "evaluation.mt_bench.judge_max_new_tokens",
        ),
        sources=sources | run.judge_sources(),
    )

    def measure() -> list[Score]:
        rows: list[TurnJudgment] = run.read(judgments)
        return mt_bench_scores.scores(rows, seed=run.config.seed)

    return run.scores(address, [judgments], measure)
