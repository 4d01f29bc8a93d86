"""The section of one feedback iteration: how M_{k-1} made the data of M_k."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from core.stages import Ref, Stage, model_ref
from reports.document import Section
from reports.sections.cells import facts_of
from reports.sections.loop import data as data_tables
from reports.sections.loop import judging as judge_tables
from reports.sections.loop import signs
from reports.sections.loop import training as curves
from reports.sections.loop.training import checkpoints

if TYPE_CHECKING:
    from core.reader import RunReader
    from reports.document import Table


def section(results: RunReader, k: int) -> Section:
    """Return the section of iteration k; missing artifacts are named in a sentence."""
    paragraphs = [
        _summary(results, k),
        *_missing(results, k),
        *judge_tables.broken_limits(results, k),
        signs.chosen_log_probability(results, k),
        signs.growing_length(results, k),
        signs.self_judge(results, k),
        judge_tables.flagged_by_benchmark(results, k),
    ]
    figures = (curves.of_scores(results, k), curves.of_preferences(results, k))
    return Section(
        f"iteration_{k}",
        f"Iteration {k}: how M{k - 1} made the data of M{k}",
        tuple(paragraphs),
        tuple(figure for figure in figures if figure is not None),
        tuple(_tables(results, k)),
    )


def _tables(results: RunReader, k: int) -> list[Table]:
    found: list[Table | None] = [data_tables.prompts(results, k)]
    if results.exists(Ref(k, Stage.HEALTH)):
        found.append(judge_tables.health(results, k))
    if results.exists(Ref(k, Stage.PAIRS)):
        found += [data_tables.ledger(results, k), data_tables.lengths(results, k)]
    found += [
        curves.early_stopping(results, k),
        judge_tables.self_judge(results, k),
        *judge_tables.contamination(results, k),
    ]
    return [table for table in found if table is not None]


def _summary(results: RunReader, k: int) -> str:
    """Return one paragraph on what was made so far."""
    prompts = results.rows(Ref(k, Stage.PROMPTS))
    kept = sum(row.kept for row in prompts)
    wording = [f"{_writer(results, k)} wrote {len(prompts)} prompts, of which {kept} were kept."]
    if answers := results.rows(Ref(k, Stage.CANDIDATES)):
        wording.append(f"M{k - 1} answered them with {len(answers)} candidates.")
    if judged := results.rows(Ref(k, Stage.JUDGMENTS)):
        read = sum(row.score is not None for row in judged)
        wording.append(
            f"{_judge(results, k)} judged them in {len(judged)} replies, {read} readable."
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
    found = []
    stages = (Stage.CANDIDATES, Stage.JUDGMENTS, Stage.HEALTH, Stage.PAIRS, Stage.MODEL)
    absent = [str(Ref(k, stage)) for stage in stages if not results.exists(Ref(k, stage))]
    if absent:
        found.append(f"The iteration is not finished; not made yet: {', '.join(absent)}.")
    elif not checkpoints(results, model_ref(k)):
        facts = facts_of(results, model_ref(k))
        found.append(
            "Checkpoints were not compared (early stopping is off, or there was one only); the "
            f"last step, {facts.get('kept_step', facts.get('steps'))}, was kept."
        )
    return found


def _writer(results: RunReader, k: int) -> str:
    name = results.config.prompts.generator if results.config is not None else "self"
    return {"self": f"M{k - 1}", "base": "M0", "sft": "The SFT baseline"}.get(name, Path(name).name)


def _judge(results: RunReader, k: int) -> str:
    name = results.config.improvement.judge if results.config is not None else "self"
    return "The SFT baseline" if name == "sft" else f"M{k - 1}"
