"""The tables of an evaluation: its plan, and its scores by model, matchup and iteration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from core.benchmarks import BENCHMARKS as FACTS
from core.errors import ConfigError
from core.store import Store
from evaluation.run import EvalRun
from evaluation.suite import BENCHMARKS, check_files, jobs
from judges.bounds import JudgeBound, judge_price, total

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.benchmarks import Subject
    from core.config import Config
    from core.evaluation_config import EvaluationSection
    from core.records import Score
    from evaluation.suite import Outcome
    from judges.backends.budget import Price

_FAILED = "failed"


def plan_table(config: Config) -> Table:
    """Return one line per benchmark: its state, requests, tokens and cost at most.

    Nothing is generated yet, so every answer, the reference's too, is assumed to reach the limit of
    evaluation.generation. A closer quote is printed before each benchmark is judged. Whether
    finished artifacts are stale is only checked by a run.

    Raises:
        ConfigError: there is no such run.
    """
    if not config.folder.is_dir():
        raise ConfigError(f"{config.folder}: no such run; train it first")
    check_files(config.evaluation)
    run = EvalRun(config, Store(config.folder))
    judge = config.evaluation.judge
    price = judge_price(judge)
    table = Table(
        title=f"{config.folder}: evaluation, judged by {judge.model}", title_justify="left"
    )
    for name in ("benchmark", "state", "judge requests ≤", "tokens in ≤", "tokens out ≤", "USD ≤"):
        table.add_column(name, justify="right" if "≤" in name else "left")
    bounds = []
    for job in jobs(run):
        done = run.store.exists(job.last)
        bound = None if done else bound_of(run, job.subject)
        if bound:
            bounds.append(bound)
        table.add_row(job.name, "done" if done else "runs", *_bound_cells(bound, price))
    table.add_section()
    table.add_row("in all", "", *_bound_cells(total(bounds), price))
    if price is None and bounds:
        table.caption = f"?: no price is known for {judge.model}; set evaluation.judge.price_usd"
    return table


def bound_of(run: EvalRun, subject: Subject) -> JudgeBound | None:
    """Return the most that a benchmark asks of the external judge; None if it asks nothing."""
    benchmark = next(b for b in BENCHMARKS if b.facts.name == subject.benchmark)
    bound = benchmark.bound(run, subject) if benchmark.bound else None
    return bound if bound and bound.requests else None


def _bound_cells(bound: JudgeBound | None, price: Price | None) -> list[str]:
    if bound is None:
        return [""] * 4
    usd = bound.usd(price)
    counts = (bound.requests, bound.tokens_in, bound.tokens_out)
    return [f"{count:,}" for count in counts] + ["?" if usd is None else f"{usd:.2f}"]


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
    checked = [o.score("flagged") for o in outcomes if o.job.subject.benchmark == "contamination"]
    details = [score.detail for score in checked if score is not None and score.detail]
    for detail in details[:1]:
        sets, left_out = (", ".join(detail[name]) for name in ("compared", "left_out"))
        lines.append(f"contamination: compared with {sets or 'no set'}.")
        if left_out:
            lines.append(f"contamination: not compared with sets on the hub: {left_out}.")
    twice = [
        o.job.owner for o in outcomes for s in o.scores or () if (s.detail or {}).get("same_judge")
    ]
    if twice:
        lines.append(
            f"self_judge, {', '.join(dict.fromkeys(twice))}: the external judge is the iteration's "
            "own judge asked again, so this is its reliability."
        )
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
