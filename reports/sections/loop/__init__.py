"""The training loop: what every iteration did with its data, and early signs of collapse."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from core.stages import Ref, Stage, model_ref
from reports.document import RowGroup, Section, Table
from reports.sections.cells import facts_of
from reports.sections.loop import data, judging, meta, seed, signs, training
from reports.sections.section import ReportSection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.reader import RunReader


def sections(results: RunReader) -> list[Section]:
    """Return a section for iteration 1 and one for each later iteration that has prompts.

    [] for a folder of imported results, which was trained elsewhere.
    """
    if not results.exists(Ref(1, Stage.IFT)) and not results.exists(model_ref(1)):
        return []
    return [seed.section(results), *(_iteration(results, k) for k in results.feedback_iterations)]


def rows(results: RunReader, most: int) -> Iterator[RowGroup | None]:
    """Yield the rows of the judge probes and of every iteration."""
    yield from judging.probe_rows(results, most)
    yield judging.contamination_rows(results, 1, most)
    for k in results.feedback_iterations:
        yield from data.rows(results, k, most)
        yield judging.consistency_rows(results, k, most)
        yield meta.rows(results, k, most)
        yield judging.truth_rows(results, k, most)
        yield judging.self_judge_rows(results, k, most)
        yield judging.contamination_rows(results, k, most)


def _iteration(results: RunReader, k: int) -> Section:
    """Return the section of iteration k; missing artifacts are named in a sentence."""
    paragraphs = [
        _summary(results, k),
        *_missing(results, k),
        *judging.broken_limits(results, k),
        signs.chosen_log_probability(results, k),
        signs.growing_length(results, k),
        signs.self_judge(results, k),
        judging.flagged_by_benchmark(results, k),
    ]
    figures = (training.of_scores(results, k), training.of_preferences(results, k))
    return Section(
        f"iteration_{k}",
        f"Iteration {k}: how M{k - 1} made the data of M{k}",
        tuple(paragraphs),
        tuple(figure for figure in figures if figure is not None),
        tuple(_tables(results, k)),
    )


def _tables(results: RunReader, k: int) -> list[Table]:
    found: list[Table | None] = [data.prompts(results, k)]
    if results.exists(Ref(k, Stage.HEALTH)):
        found.append(judging.health(results, k))
    if results.exists(Ref(k, Stage.PAIRS)):
        found += [data.ledger(results, k), data.gaps(results, k), data.lengths(results, k)]
    found += [
        *meta.tables(results, k),
        training.early_stopping(results, k),
        judging.truth(results, k),
        judging.self_judge(results, k),
        *judging.contamination(results, k),
    ]
    return [table for table in found if table is not None]


def _summary(results: RunReader, k: int) -> str:
    """Return one paragraph on what was made so far."""
    prompts = results.rows(Ref(k, Stage.PROMPTS))
    kept = sum(row.kept for row in prompts)
    generator = results.setting("prompts.generator", Ref(k, Stage.PROMPTS)) or "self"
    writer = data.names(k).get(generator, Path(generator).name)
    source = results.setting("prompts.source", Ref(k, Stage.PROMPTS)) or "self"
    wording = [f"{writer} wrote {len(prompts)} prompts, of which {kept} were kept."]
    if source != "self":
        taken = sum(row.call < 0 for row in prompts)
        wording = [f"{taken or kept} prompts were taken from {Path(source).name}."]
        if taken:
            wrote = f"{len(prompts) - taken} prompts, of which {kept - taken} were kept."
            wording.append(f"{writer} wrote {wrote}")
    if answers := results.rows(Ref(k, Stage.CANDIDATES)):
        wording.append(f"M{k - 1} answered them with {len(answers)} candidates.")
    if judged := results.rows(Ref(k, Stage.JUDGMENTS)):
        read = sum(row.said is not None for row in judged)
        judge, replies = data.own_judge(results, k), any(row.reply for row in judged)
        wording.append(
            f"{judge} judged them in {len(judged)} replies, {read} readable."
            if replies
            else f"{judge} scored them: {read} of {len(judged)} answers have a score."
        )
    if results.exists(Ref(k, Stage.PAIRS)):
        ledger = results.rows(Ref(k, Stage.PAIRS))
        pairs = sum(row.outcome == "pair" for row in ledger)
        wording.append(f"{pairs} of {len(ledger)} prompts gave a preference pair.")
    facts = facts_of(results, model_ref(k))
    if "kept_step" in facts:
        wording.append(f"M{k} is step {facts['kept_step']} of {facts['steps']} of DPO on them.")
    elif facts:
        wording.append(f"M{k} was trained for {facts.get('steps')} steps without preference pairs.")
    return " ".join(wording)


def _missing(results: RunReader, k: int) -> list[str]:
    """Return a sentence on what is not made yet, or on why no checkpoints were compared."""
    stages = (Stage.CANDIDATES, Stage.JUDGMENTS, Stage.HEALTH, Stage.PAIRS, Stage.MODEL)
    absent = [str(Ref(k, stage)) for stage in stages if not results.exists(Ref(k, stage))]
    if absent:
        return [f"The iteration is not finished; not made yet: {', '.join(absent)}."]
    if training.checkpoints(results, model_ref(k)):
        return []
    facts = facts_of(results, model_ref(k))
    return [
        "Checkpoints were not compared (early stopping is off, or there was one only); the last "
        f"step, {facts.get('kept_step', facts.get('steps'))}, was kept."
    ]


SECTION = ReportSection(sections, rows)
