"""Comparison of two or more runs on the same benchmarks, paired by item."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.benchmarks import BENCHMARKS
from core.paired import compare as paired
from reports.document import Cell, Report, Section, Table, TableRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.scores import Metric, ScoresFile


def differing(a: Metric, b: Metric) -> list[str]:
    """Return which conditions of two metrics differ; [] if their values are comparable."""
    names = sorted({*a.conditions, *b.conditions})
    pairs = {n: [str(m.conditions.get(n, "absent")) for m in (a, b)] for n in names}
    return [f"{name} was {was}, is {now}" for name, (was, now) in pairs.items() if was != now]


def compare_runs(runs: Sequence[ScoresFile], *, seed: int = 0) -> Report:
    """Return a report that sets runs beside the first one.

    Differences are over items that both runs have, with a paired interval and test; metrics that
    are no mean over items have values only. Where the conditions differ there is no difference, and
    the cell says what differs.
    """
    if len(runs) < 2:  # noqa: PLR2004 - two make a comparison
        raise ValueError("compare: give two or more runs")
    names: list[str] = []
    for run in runs:  # a name that comes twice is numbered: "quickstart (2)"
        before = [one.run for one in runs[: len(names)]].count(run.run)
        names.append(f"{run.run} ({before + 1})" if before else run.run)
    by_id = [{metric.id: metric for metric in run.metrics} for run in runs]
    order = dict.fromkeys(
        (metric.benchmark, metric.id) for run in runs for metric in run.metrics if metric.headline
    )
    sections = []
    for benchmark, known in BENCHMARKS.items():
        ids = [one for kind, one in order if kind == benchmark]
        if not ids:
            continue
        rows = []
        for one in ids:
            first, *others = (found.get(one) for found in by_id)
            cells = [_value(first)]
            for other in others:
                cells += [_value(other), *difference(first, other, seed=seed)]
            rows.append(TableRow(one, tuple(cells)))
        columns = [names[0]]
        for name in names[1:]:
            columns += [name, f"{name} − {names[0]}", "p"]
        table = Table(
            f"compare_{benchmark}",
            known.title,
            "metric",
            tuple(columns),
            tuple(rows),
            notes=_NOTES,
        )
        sections.append(Section(benchmark, known.title, tables=(table,)))
    facts = tuple((name, run.run) for name, run in zip(names, runs, strict=True))
    return Report(f"Comparison: {', '.join(names)}", facts, tuple(sections))


_NOTES = (
    "Differences are paired by item and have 95 % intervals; p is two-sided and not corrected for "
    "the number of metrics (the regression gate is).",
)


def _value(metric: Metric | None) -> Cell:
    if metric is None:
        return Cell(reason="this run has no such metric")
    return Cell(
        metric.value,
        low=metric.low,
        high=metric.high,
        n=metric.n,
        missing=metric.missing,
        reason=metric.reason,
        digits=3 if metric.unit in ("share", "p_value") else 2,
    )


def difference(a: Metric | None, b: Metric | None, *, seed: int) -> tuple[Cell, Cell]:
    """Return b − a with its interval, and the p-value, or why there is none.

    `seed`: of sampled sign flips.
    """
    if a is None or b is None or a.value is None or b.value is None:
        return Cell(reason="one of the two has no value"), Cell()
    if changed := differing(a, b):
        return Cell(reason=f"not comparable: {'; '.join(changed)}"), Cell()
    if a.items is None or b.items is None:
        return Cell(b.value - a.value, reason=None), Cell(text="no items to pair")
    clusters = {**(a.clusters or {}), **(b.clusters or {})} or None
    found = paired(b.items, a.items, clusters=clusters, scale=a.scale, seed=seed)
    if found.difference is None:
        return Cell(reason="the runs share no item"), Cell()
    low, high = found.interval or (None, None)
    only = found.n_only_a + found.n_only_b
    cell = Cell(found.difference, low=low, high=high, n=found.n, missing=only)
    return cell, Cell(found.p_value, digits=4, n=found.n_clusters)
