"""The plan of an evaluation: which benchmarks are done, and what the judge may cost.

Nothing is generated yet, so the tokens are upper bounds: every answer, the reference's too, is
assumed to reach the limit of evaluation.generation. A closer quote is printed before each benchmark
is judged. Whether finished artifacts are stale is only checked by a run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from core.errors import ConfigError
from core.store import Store
from evaluation.run import EvalRun
from evaluation.suite import BENCHMARKS, jobs
from judges.bounds import JudgeBound, judge_price, total

if TYPE_CHECKING:
    from core.benchmarks import Subject
    from core.config import Config
    from judges.backends.budget import Price


def plan_table(config: Config) -> Table:
    """Return one line per benchmark: its state, requests, tokens and cost at most.

    Raises:
        ConfigError: there is no such run.
    """
    if not config.folder.is_dir():
        raise ConfigError(f"{config.folder}: no such run; train it first")
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
        table.add_row(job.name, "done" if done else "runs", *_cells(bound, price))
    table.add_section()
    table.add_row("in all", "", *_cells(total(bounds), price))
    return table


def bound_of(run: EvalRun, subject: Subject) -> JudgeBound | None:
    """Return the most that a benchmark asks of the external judge; None if it asks nothing."""
    benchmark = next(b for b in BENCHMARKS if b.facts.name == subject.benchmark)
    bound = benchmark.bound(run, subject) if benchmark.bound else None
    return bound if bound and bound.requests else None


def _cells(bound: JudgeBound | None, price: Price | None) -> list[str]:
    if bound is None:
        return [""] * 4
    usd = bound.usd(price)
    counts = (bound.requests, bound.tokens_in, bound.tokens_out)
    return [f"{count:,}" for count in counts] + ["?" if usd is None else f"{usd:.2f}"]
