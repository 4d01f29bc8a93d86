"""The tables that end an evaluation: one for models, one for matchups, one for iterations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from core.benchmarks import BENCHMARKS as FACTS
from evaluation.suite import BENCHMARKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.evaluation_config import EvaluationSection
    from core.records import Score
    from evaluation.suite import Outcome

_FAILED = "failed"


def results_tables(outcomes: Sequence[Outcome]) -> list[Table]:
    """Return the tables of scores. Each cell is a value and (n), or – and the missing items."""
    models = [o for o in outcomes if len(o.job.subject.models) == 1]
    matchups = [o for o in outcomes if len(o.job.subject.models) > 1]
    others = [o for o in outcomes if o.job.subject.iteration is not None]
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
    owners = list(dict.fromkeys(o.job.owner for o in outcomes))
    table = Table(title=title, title_justify="left")
    table.add_column("benchmark", no_wrap=True)
    for owner in owners:
        table.add_column(owner, justify="right", no_wrap=True)
    rows = dict.fromkeys((o.job.title, key) for o in outcomes for key in o.job.columns)
    at = {(o.job.title, o.job.owner): o for o in outcomes}
    for benchmark, key in rows:
        cells = [_cell(at.get((benchmark, owner)), key) for owner in owners]
        table.add_row(f"{benchmark} {key}", *cells)
    return table


def _by_metric(title: str, outcomes: Sequence[Outcome]) -> Table:
    """One row per matchup, one column per metric."""
    table = Table(title=title, title_justify="left")
    table.add_column("matchup", no_wrap=True)
    for key in outcomes[0].job.columns:
        table.add_column(key.replace("_", " "), justify="right", no_wrap=True)
    for outcome in outcomes:
        cells = [_cell(outcome, key) for key in outcome.job.columns]
        table.add_row(outcome.job.owner, *cells)
    return table


def _cell(outcome: Outcome | None, key: str) -> str:
    if outcome is None:
        return ""
    if outcome.failure is not None:
        return _FAILED
    score = outcome.score(key)
    return "" if score is None else short(score)


def short(score: Score) -> str:
    """Format value and n: "62.50 (256)"; with missing items "62.50 (250+6?)"."""
    count = f"{score.n}+{score.missing}?" if score.missing else f"{score.n}"
    return f"– ({count})" if score.value is None else f"{score.value:.2f} ({count})"


def notes(outcomes: Sequence[Outcome], section: EvaluationSection) -> list[str]:
    """Return the notes below the tables: judge, data, limits, reasons of missing values."""
    lines = ["(n+m?): m items without a value (unparsed or failed)."]
    reasons: dict[str, list[str]] = {}
    for outcome in outcomes:
        for key in outcome.job.columns:
            score = outcome.score(key)
            if score is not None and score.value is None:
                reason = f"{outcome.job.title} {key}: {score.reason}"
                reasons.setdefault(reason, []).append(outcome.job.owner)
    lines += [f"– {reason} ({', '.join(owners)})" for reason, owners in reasons.items()]
    remote = [name for b in BENCHMARKS if b.remote_sets for name in b.remote_sets(section)]
    if remote and any(o.job.subject.benchmark == "contamination" for o in outcomes):
        lines.append(f"contamination: not compared with sets on the hub: {', '.join(remote)}.")
    lines.append(f"Judge: {section.judge.model} ({section.judge.backend}).")
    settings = [
        (facts, getattr(section, name).model_dump())
        for name, facts in FACTS.items()
        if hasattr(section, name)
    ]
    limited = ", ".join(
        f"{facts.name}{' (per task or subject)' if facts.parts else ''} {values['limit']}"
        for facts, values in settings
        if values.get("limit") is not None
    )
    if limited:
        lines.append(f"Items at most: {limited}.")
    sample = ", ".join(facts.name for facts, values in settings if "sample" in values.values())
    if sample:
        lines.append(
            f"{sample}: packaged sample items, written for this project. Not comparable with "
            "published numbers."
        )
    return lines
