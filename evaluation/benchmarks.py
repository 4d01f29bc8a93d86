"""The benchmarks of a run as jobs: which artifacts each makes, from what, and its scores.

Every function returns the scores; artifacts that are there already are not made again. Settings are
read here and handed on section by section.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from core.hashing import sha256_file
from core.records import Score
from core.stages import HOW_JUDGED, Ref, Stage
from core.store import Built
from evaluation import (
    agreement,
    alpaca_eval,
    alpaca_files,
    alpaca_scores,
    contamination,
    evaluation_items,
    generate,
    head_to_head,
    mt_bench,
    mt_bench_questions,
    mt_bench_scores,
    nlp,
    nlp_data,
    self_judge,
    tags,
)
from evaluation.alpaca_sources import file_source, reference_name
from evaluation.prompts import load_prompts, prompts_file
from evaluation.run import JUDGED_BY, is_model_name
from evaluation.suite import Job
from judges.pair_prompts import pair_prompt
from judges.ranked_replies import judge_ranked, of_split

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from core.records import Annotation, Generation, TurnJudgment, Verdict
    from core.store import Partial
    from evaluation.run import EvalRun

_FIRST_FEEDBACK = 2  # iterations with candidates of their own
_GENERATION = ("evaluation.generation", "engine.dtype")


def jobs(run: EvalRun) -> list[Job]:
    """Return what there is to do, ordered so that each model is loaded once."""
    section = run.section
    models = [name for name in section.models if run.is_made(name)]
    found = [job for model in models for job in _of_model(run, model)]
    for a, b in section.head_to_head.matchups:
        if a in models and b in models:
            whose, rates = f"head_to_head/{a}-{b}", ("win", "tie", "lose", "sign_test")
            name = f"{a} against {b}"
            found.append(Job(name, "head_to_head", whose, partial(match, run, a, b), rates))
    for k in range(_FIRST_FEEDBACK, run.iterations + 1):
        found += _of_iteration(run, k)
    return [job for job in found if job.benchmark in section.benchmarks]


def _of_model(run: EvalRun, model: str) -> list[Job]:
    found = []
    for task in run.section.nlp.tasks:
        headlines = (nlp.headline(task) or "acc", *(["acc_macro"] if task == nlp_data.MMLU else []))
        make = partial(nlp_task, run, model, task)
        found.append(Job(model, "nlp", f"{model}/nlp/{task}", make, headlines, task))
    own: list[tuple[str, Callable[[EvalRun, str], list[Score]], tuple[str, ...], str]] = [
        ("agreement", agree, (*agreement.DEFAULTS, "parse_rate"), ""),
        ("alpaca_eval", alpaca, ("win_rate", "length_controlled_win_rate", "avg_length"), ""),
        ("mt_bench", mt, (mt_bench_scores.OVERALL, "turn_1", "turn_2"), ""),
        ("head_to_head", answer_now, ("mean_characters",), "answers"),
    ]
    for name, make_own, headlines, part in own:
        whose = f"{model}/{name}"
        found.append(Job(model, name, whose, partial(make_own, run, model), headlines, part))
    return found


def _of_iteration(run: EvalRun, k: int) -> list[Job]:
    gamed = ("mean_own", "mean_external", "mean_difference", "spearman", "pairs_confirmed")
    again, overlap = partial(judge_again, run, k), partial(overlaps, run, k)
    return [
        Job(f"iteration {k}", "self_judge", f"self_judge/iter{k}", again, gamed),
        Job(f"iteration {k}", "contamination", f"contamination/iter{k}", overlap, ("flagged",)),
    ]


def write_scores(
    run: EvalRun,
    whose: str,
    inputs: Sequence[Ref],
    measure: Callable[[], Sequence[Score]],
    *,
    sections: Sequence[str] = (),
    sources: dict[str, str] | None = None,
) -> list[Score]:
    """Make (or read) the scores artifact of a benchmark."""

    def make(out: Partial) -> Built:
        for score in measure():
            if score.key not in out.rows:
                out.add(score)
        return Built()

    ref = run.rows(whose, Stage.SCORES, inputs, make, sections=sections, sources=sources)
    return run.read(ref)


def _answers(run: EvalRun, model: str) -> Ref:
    """Return a model's answers to the head-to-head prompts."""
    whose, section = f"{model}/head_to_head", run.section.head_to_head

    def make(out: Partial) -> Built:
        return generate.answer(
            run.generator(model, whose),
            load_prompts(section.prompts, section.limit),
            run.section.generation,
            seed=run.config.seed,
            title=f"{model} answers the test prompts",
            out=out,
        )

    return run.rows(
        whose,
        Stage.ANSWERS,
        [run.model(model)],
        make,
        sections=(*_GENERATION, "evaluation.head_to_head.limit"),
        sources={"prompts": sha256_file(prompts_file(section.prompts))},
    )


def answer_now(run: EvalRun, model: str) -> list[Score]:
    """Answer the test prompts now, while the model is loaded, and say how long the answers are."""
    answers: list[Generation] = run.read(_answers(run, model))
    silent = sum(row.finish == "too_long" for row in answers)
    return [
        Score("mean_characters", generate.mean_characters(answers), len(answers) - silent, silent)
    ]


def match(run: EvalRun, a: str, b: str) -> list[Score]:
    """Compare two models on the test prompts (Figure 3)."""
    whose = f"head_to_head/{a}-{b}"
    left, right = _answers(run, a), _answers(run, b)
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
        whose,
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

    return write_scores(run, whose, [verdicts, left, right], measure)


def alpaca(run: EvalRun, model: str) -> list[Score]:
    """AlpacaEval 2.0 of one model (Table 1)."""
    whose, section = f"{model}/alpaca_eval", run.section.alpaca_eval
    seed = run.config.seed

    def answers_of(name: str) -> Ref:
        at = f"{name}/alpaca_eval"

        def make(out: Partial) -> Built:
            return generate.answer(
                run.generator(name, at),
                alpaca_files.load_prompts(section.prompts, section.limit),
                run.section.generation,
                seed=seed,
                title=f"{name} answers the AlpacaEval prompts",
                out=out,
            )

        return run.rows(
            at,
            Stage.ANSWERS,
            [run.model(name)],
            make,
            sections=(*_GENERATION, "evaluation.alpaca_eval.limit"),
            sources=file_source("prompts", section.prompts),
        )

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
        whose,
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

    return write_scores(
        run,
        whose,
        [annotations, *([tagged] if tagged else [])],
        measure,
        sections=("evaluation.alpaca_eval.length_control_data", "evaluation.alpaca_eval.bootstrap"),
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
    whose, section = f"{model}/mt_bench", run.section.mt_bench
    questions = partial(mt_bench_questions.load_questions, section)
    sources = mt_bench_questions.sources(section)

    def answer(out: Partial) -> Built:
        engine = run.generator(model, whose)
        return mt_bench.answer(engine, questions(), section, seed=run.config.seed, out=out)

    answers = run.rows(
        whose,
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
        whose,
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

    return write_scores(run, whose, [judgments], measure)


def nlp_task(run: EvalRun, model: str, task: str) -> list[Score]:
    """One NLP benchmark of one model (Tables 3 and 9)."""
    whose, section = f"{model}/nlp/{task}", run.section.nlp

    def make(out: Partial) -> Built:
        engine = run.engine(model, whose, Stage.ITEMS)
        return nlp.run_task(engine, task, section, seed=run.config.seed, out=out)

    items = run.rows(
        whose,
        Stage.ITEMS,
        [run.model(model)],
        make,
        sections=("evaluation.nlp.limit", "evaluation.nlp.data_dir", "engine.dtype"),
        sources=nlp_data.source_hashes(task, section.data_dir),
    )
    return write_scores(run, whose, [items], lambda: nlp.scores(run.read(items), task))


def agree(run: EvalRun, model: str) -> list[Score]:
    """A model as a judge against the human rankings (Table 4)."""
    whose, ranked_replies = f"{model}/agreement", Ref(1, Stage.RANKED)
    section = run.section.agreement

    def make(out: Partial) -> Built:
        return judge_ranked(
            run.engine(model, whose, Stage.RANKED_JUDGMENTS),
            of_split(run.read(ranked_replies), "eval", section.limit),
            run.config.judge,
            draws=section.draws,
            seed=run.config.seed,
            title=f"{model} judges the EFT evaluation split",
            out=out,
        )

    judgments = run.rows(
        whose,
        Stage.RANKED_JUDGMENTS,
        [ranked_replies, run.model(model)],
        make,
        sections=(*HOW_JUDGED, "evaluation.agreement", "engine.dtype"),
    )

    def measure() -> list[Score]:
        prompts = of_split(run.read(ranked_replies), "eval", section.limit)
        return agreement.scores(prompts, run.read(judgments), seed=run.config.seed)

    return write_scores(run, whose, [judgments, ranked_replies], measure)


def judge_again(run: EvalRun, k: int) -> list[Score]:
    """The external judge on the candidates M_{k-1} judged itself: are we gaming ourselves?"""
    whose = f"self_judge/iter{k}"
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
        whose,
        Stage.EXTERNAL_JUDGMENTS,
        [prompts, answers, *run.judge_inputs()],
        make,
        sections=(*JUDGED_BY, *HOW_JUDGED, "evaluation.self_judge"),
        sources=run.judge_sources(),
    )
    return write_scores(
        run,
        whose,
        [own, external, pairs],
        lambda: self_judge.scores(
            run.read(own), run.read(external), run.read(pairs), seed=run.config.seed
        ),
    )


def overlaps(run: EvalRun, k: int) -> list[Score]:
    """The prompts of iteration k against every evaluation set."""
    whose, prompts = f"contamination/iter{k}", Ref(k, Stage.PROMPTS)
    items = evaluation_items.items(run.section, run.read(Ref(1, Stage.RANKED)))

    def make(out: Partial) -> Built:
        kept = [(p.key, p.text) for p in run.read(prompts) if p.kept]
        return contamination.find_overlaps(kept, items, run.section.contamination, out)

    flags = run.rows(
        whose,
        Stage.FLAGS,
        [prompts],
        make,
        sections=("evaluation.contamination",),
        sources={"items": evaluation_items.digest(items)},
    )
    kept = sum(p.kept for p in run.read(prompts))
    return write_scores(
        run, whose, [flags, prompts], lambda: contamination.scores(run.read(flags), kept)
    )
