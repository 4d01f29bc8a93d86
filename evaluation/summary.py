"""The tables that end an evaluation: one for models, one for matchups, one for iterations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from core.stages import is_model_name
from evaluation.loop_checks import evaluation_items

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.evaluation_config import EvaluationSection
    from core.records import Score
    from evaluation.suite import Outcome

_FAILED = "failed"


def results_tables(outcomes: Sequence[Outcome]) -> list[Table]:
    """Return what was measured. Each cell is a value and (n), or – and what is missing."""
    models = [o for o in outcomes if is_model_name(o.job.subject)]
    matchups = [o for o in outcomes if " against " in o.job.subject]
    others = [o for o in outcomes if o not in models and o not in matchups]
    found = []
    if models:
        found.append(_by_subject("Models: value (n)", models))
    if matchups:
        found.append(_by_metric("Head to head, percent (n)", matchups))
    if others:
        found.append(_by_subject("Iterations: value (n)", others))
    return found


def _by_subject(title: str, outcomes: Sequence[Outcome]) -> Table:
    """One row per benchmark and metric, one column per model or iteration."""
    subjects = list(dict.fromkeys(o.job.subject for o in outcomes))
    table = Table(title=title, title_justify="left")
    table.add_column("benchmark", no_wrap=True)
    for subject in subjects:
        table.add_column(subject, justify="right", no_wrap=True)
    rows = dict.fromkeys((o.job.title, key) for o in outcomes for key in o.job.headlines)
    at = {(o.job.title, o.job.subject): o for o in outcomes}
    for benchmark, key in rows:
        cells = [_cell(at.get((benchmark, subject)), key) for subject in subjects]
        table.add_row(f"{benchmark} {key}", *cells)
    return table


def _by_metric(title: str, outcomes: Sequence[Outcome]) -> Table:
    """One row per matchup, one column per metric."""
    table = Table(title=title, title_justify="left")
    table.add_column("matchup", no_wrap=True)
    for key in outcomes[0].job.headlines:
        table.add_column(key.replace("_", " "), justify="right", no_wrap=True)
    for outcome in outcomes:
        cells = [_cell(outcome, key) for key in outcome.job.headlines]
        table.add_row(outcome.job.subject, *cells)
    return table


def _cell(outcome: Outcome | None, key: str) -> str:
    if outcome is None:
        return ""
    if outcome.failure is not None:
        return _FAILED
    score = outcome.score(key)
    return "" if score is None else short(score)


def short(score: Score) -> str:
    """Return value and n: "62.50 (256)"; items without a value beside it: "62.50 (250+6?)"."""
    count = f"{score.n}+{score.missing}?" if score.missing else f"{score.n}"
    return f"– ({count})" if score.value is None else f"{score.value:.2f} ({count})"


def notes(outcomes: Sequence[Outcome], section: EvaluationSection) -> list[str]:
    """Return what must stand beside the numbers: judge, data, limits, why numbers are missing."""
    lines = ["(n+m?): m items without a value, because something could not be read or answered."]
    reasons: dict[str, list[str]] = {}
    for outcome in outcomes:
        for key in outcome.job.headlines:
            score = outcome.score(key)
            if score is not None and score.value is None:
                reason = f"{outcome.job.title} {key}: {score.reason}"
                reasons.setdefault(reason, []).append(outcome.job.subject)
    lines += [f"– {reason} ({', '.join(subjects)})" for reason, subjects in reasons.items()]
    hub = evaluation_items.left_out(section)
    if hub and any(o.job.benchmark == "contamination" for o in outcomes):
        lines.append(f"contamination: not compared with sets on the hub: {', '.join(hub)}.")
    lines.append(f"Judge: {section.judge.model} ({section.judge.backend}).")
    limits = {
        "head_to_head": section.head_to_head.limit,
        "alpaca_eval": section.alpaca_eval.limit,
        "mt_bench": section.mt_bench.limit,
        "nlp (per task or subject)": section.nlp.limit,
        "agreement": section.agreement.limit,
        "self_judge": section.self_judge.limit,
    }
    limited = ", ".join(f"{name} {value}" for name, value in limits.items() if value is not None)
    if limited:
        lines.append(f"Items at most: {limited}.")
    sources = {
        "head_to_head": section.head_to_head.prompts,
        "alpaca_eval": section.alpaca_eval.prompts,
        "nlp": section.nlp.data_dir,
    }
    sample = ", ".join(name for name, source in sources.items() if source == "sample")
    if sample:
        lines.append(
            f"{sample}: packaged sample items, written for this project. Not comparable with "
            "published numbers."
        )
    return lines
