"""The checks of an iteration as benchmarks: self-judge, truth and contamination."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from core.benchmarks import BENCHMARKS
from core.hashing import sha256_file, sha256_json
from core.jsonl import read_objects
from core.records import Example
from core.sources.source import packaged
from core.stages import HOW_JUDGED, Ref, Stage
from evaluation.benchmark import Benchmark
from evaluation.ifeval.data import load_prompts
from evaluation.loop_checks import contamination, self_judge, truth
from judges.backends.opening import JUDGED_BY
from judges.bounds import JudgeBound, PromptCount, benchmark_bound
from judges.candidate_judges import ExternalRubricJudge, write_judgments
from judges.rubrics import load_rubric

if TYPE_CHECKING:
    from core.benchmarks import Subject
    from core.records import Candidate, Score
    from evaluation.run import EvalRun


def check_self_judge(run: EvalRun, subject: Subject) -> list[Score]:
    """The external judge on the candidates that M_{k-1} judged itself."""
    k, section, seed = subject.iteration or 0, run.section.self_judge, run.config.seed
    prompts, answers, config = Ref(k, Stage.PROMPTS), Ref(k, Stage.CANDIDATES), run.config.at(k)
    own, pairs = Ref(k, Stage.JUDGMENTS), Ref(k, Stage.PAIRS)
    external = run.rows(
        subject.ref(Stage.EXTERNAL_JUDGMENTS),
        [prompts, answers, *run.judge_inputs()],
        lambda out: write_judgments(
            ExternalRubricJudge(
                run.judge,
                config.judge,
                reading=run.section.judge.reading,
                allowed_failures=run.section.judge.allowed_failures,
                draws=1,
            ),
            self_judge.subjects(run.read(prompts), run.read(answers), section.limit, seed=seed),
            title="external judgments",
            out=out,
        ),
        sections=(*JUDGED_BY, *HOW_JUDGED, "evaluation.self_judge"),
        sources=run.judge_sources(),
        config=config,
    )
    inputs, rubric = [own, external, pairs], load_rubric(config.judge.rubric)
    # A judge asked twice: what they agree on is its reliability, not its validity.
    same = bool(run.store.manifest(own).models & run.store.manifest(external).models)

    def measure() -> list[Score]:
        own_scale = run.store.manifest(own).facts.get("scale", list(rubric.scale))
        scale = rubric.scale if own_scale == list(rubric.scale) else None
        found = self_judge.scores(*map(run.read, inputs), scale=scale, seed=seed)
        if not same:
            return found
        return [replace(one, detail={**(one.detail or {}), "same_judge": True}) for one in found]

    return run.scores(subject, inputs, measure)


def check_truth(run: EvalRun, subject: Subject) -> list[Score]:
    """The candidates of an iteration against the checker of its prompts, if they have one."""
    k = subject.iteration or 0
    source = run.config.at(k).prompts.source
    prompts, answers = Ref(k, Stage.PROMPTS), Ref(k, Stage.CANDIDATES)
    file = resolve_prompts(source)
    known = {p.text.strip(): p for p in load_prompts(str(file), None)} if file else {}
    beside = [Ref(k, stage) for stage in (Stage.PAST_ANSWERS, Stage.FUTURE_ANSWERS)]
    beside = [ref for ref in beside if run.store.exists(ref)]

    def others() -> list[Candidate]:
        return [answer for ref in beside for answer in run.read(ref)]

    items = run.rows(
        subject.ref(Stage.ITEMS),
        [prompts, answers, *beside],
        lambda out: truth.check_candidates(
            run.read(prompts), run.read(answers), known, out, others=others()
        ),
        sources={"prompts": sha256_file(file)} if file else {},
    )
    inputs = [items, Ref(k, Stage.JUDGMENTS), Ref(k, Stage.PAIRS)]
    return run.scores(subject, inputs, lambda: truth.scores(*map(run.read, inputs)))


def resolve_prompts(source: str) -> Path | None:
    """Return the file of prompts in IFEval's schema that `prompts.source` names, else None."""
    file = packaged(source, "prompts") or Path(source).expanduser()
    if not file.is_file():
        return None
    first = next(read_objects(file), None)
    return file if first is not None and "instruction_id_list" in first[1] else None


def check_contamination(run: EvalRun, subject: Subject) -> list[Score]:
    """The training prompts of an iteration against the texts of every benchmark.

    Of iteration 1 those of the seed data, of a later one the generated prompts that were kept.
    """
    k, items = subject.iteration or 0, run.texts
    if k == 1:
        seed = (Ref(1, stage) for stage in (Stage.IFT, Stage.EFT))
        sources = [ref for ref in seed if run.store.exists(ref)]
    else:
        sources = [Ref(k, Stage.PROMPTS)]

    def prompts() -> list[tuple[str, str]]:
        rows = [row for ref in sources for row in run.read(ref)]
        if k > 1:
            return [(row.key, row.transcript) for row in rows if row.kept]
        texts = {row.text if isinstance(row, Example) else row.prompt: row.key for row in rows}
        # A prompt whose replies are several EFT examples counts once.
        return [(key, text) for text, key in texts.items()]

    flags = run.rows(
        subject.ref(Stage.FLAGS),
        sources,
        lambda out: contamination.find_overlaps(prompts(), items, run.section.contamination, out),
        sections=("evaluation.contamination",),
        sources=contamination.KINDS | {"items": sha256_json([list(item) for item in items])},
    )
    compared = Counter(item.benchmark for item in items)
    return run.scores(
        subject,
        [flags, *sources],
        lambda: contamination.scores(
            run.read(flags), len(prompts()), compared=compared, left_out=run.sets_left_out
        ),
    )


def _bound(run: EvalRun, subject: Subject) -> JudgeBound:
    k = subject.iteration or 0
    rows = run.store.manifest(Ref(k, Stage.CANDIDATES)).rows or 0
    judged = min(rows, run.section.self_judge.limit or rows)
    return benchmark_bound(run.config.at(k), "self_judge", PromptCount(judged, 1))


SELF_JUDGE = Benchmark(
    BENCHMARKS["self_judge"],
    check_self_judge,
    bound=_bound,
    columns=lambda _: (
        "mean_own",
        "mean_external",
        "mean_difference",
        "spearman",
        "pairs_confirmed",
    ),
)
TRUTH = Benchmark(BENCHMARKS["truth"], check_truth)
CONTAMINATION = Benchmark(BENCHMARKS["contamination"], check_contamination)
