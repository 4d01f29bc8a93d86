"""Comparison of variants that were run with several seeds: means, spreads, paired differences."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING

from core.benchmarks import BENCHMARKS, Facts
from core.errors import ConfigError
from core.seeds import SeedDifference, over_seeds, paired_seeds, seeds_apart
from reports.document import Cell, Report, Section, Table, TableRow
from reports.gate.by_iteration import OVER_SEEDS, by_iteration, mean_cell
from reports.gate.compare import difference, differing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reports.gate.members import Member
    from reports.scores import Metric

_DIGITS = {"share": 3, "p_value": 3}
_P_DIGITS = 4


def compare_groups(found: Sequence[Member]) -> Report:
    """Return a report with a table for each headline measure, and one by iteration.

    Each table has a row per variant and subject (model, matchup, iteration).

    Raises:
        ConfigError: there are no runs.
    """
    variants = _by_variant(found)
    if not variants:
        raise ConfigError("compare --group: no run is there yet")
    names, first = list(variants), next(iter(variants))
    sections = [by_iteration(variants)]
    for facts in BENCHMARKS.values():
        tables = tuple(_measure(variants, facts, *one) for one in _headlines(found, facts))
        sections.append(Section(facts.name, facts.title, tables=tables))
    seeds = {name: ", ".join(str(one.seed) for one in runs) for name, runs in variants.items()}
    facts_ = tuple((name, f"seeds {seeds[name]}") for name in names)
    shown = tuple(section for section in sections if section.tables)
    return Report(f"Variants over seeds, compared with {first}", facts_, shown)


def _by_variant(found: Sequence[Member]) -> dict[str, list[Member]]:
    variants: dict[str, list[Member]] = {}
    for one in found:
        variants.setdefault(one.variant, []).append(one)
    return variants


def _headlines(found: Sequence[Member], facts: Facts) -> list[tuple[str, str]]:
    """Return (part, metric) of a benchmark's headline numbers that any run has."""
    metrics = (metric for one in found for metric in one.metrics.values())
    return list(
        dict.fromkeys(
            (m.part, m.metric)
            for m in metrics
            if m.benchmark == facts.name and m.headline and m.value is not None
        )
    )


_NOTES = (
    f"{OVER_SEEDS} SD: of the seeds; ± in a run: half the interval of one run, over items, on "
    "average.",
    "Difference: paired by item within each seed. Its 95 % interval and p are for other seeds and "
    "other items alike (docs/decisions/046-over-seeds.md), with n, the number of items; of a "
    "measure that is no mean over items, without n, for other seeds on the same items; of one "
    "seed, for other items alone. p is two-sided and not corrected for the number of rows.",
)


def _measure(
    variants: Mapping[str, Sequence[Member]], facts: Facts, part: str, metric: str
) -> Table:
    """Return the table of one headline measure."""
    first = next(iter(variants))
    subjects = dict.fromkeys(
        (m.subject, name)
        for runs in variants.values()
        for one in runs
        for name, m in one.metrics.items()
        if (m.benchmark, m.part, m.metric) == (facts.name, part, metric) and m.headline
    )
    rows = []
    for subject, name in subjects:
        base = {one.seed: one.metrics.get(name) for one in variants[first]}
        for variant, runs in variants.items():
            own = {one.seed: one.metrics.get(name) for one in runs}
            beside = () if variant == first else against(base, own)
            label = f"{subject}: {variant}"
            rows.append(TableRow(label, (*_summary([*own.values()]), *(beside or _NO_CELLS))))
    columns = ("mean over seeds", "SD of seeds", "± in a run", f"− {first}", "p")
    title = " ".join(filter(None, (facts.title, part, metric)))
    key = "_".join(filter(None, ("group", facts.name, part, metric))).replace("/", "_")
    return Table(key, title, "subject and variant", columns, tuple(rows), notes=_NOTES)


_NO_CELLS = (Cell(), Cell())


def _summary(found: Sequence[Metric | None]) -> tuple[Cell, Cell, Cell]:
    """Return mean over seeds, spread of seeds, and the half-width of a run's own interval."""
    known = [m for m in found if m is not None and m.value is not None]
    if not known:
        reasons = [m.reason for m in found if m is not None and m.reason]
        return Cell(reason=reasons[0] if reasons else "no run has it"), Cell(), Cell()
    digits = _DIGITS.get(known[0].unit, 2)
    values = [m.value for m in known if m.value is not None]
    over = over_seeds(values, _bounds(known[0]))
    halves = [(m.high - m.low) / 2 for m in known if m.low is not None and m.high is not None]
    spread = Cell(reason="one seed") if over.spread is None else Cell(over.spread, digits=digits)
    in_a_run = Cell(fmean(halves), digits=digits) if halves else Cell()
    return replace(mean_cell(over, digits), missing=len(found) - len(known)), spread, in_a_run


def _bounds(metric: Metric) -> tuple[float, float] | None:
    """Return the least and greatest possible value of a metric, None where it has no bounds."""
    if metric.items is None and metric.unit == "percent":
        return (0.0, 100.0)
    return metric.scale


def against(
    first: Mapping[int, Metric | None], other: Mapping[int, Metric | None]
) -> tuple[Cell, Cell]:
    """Return other − first with its interval, and the p-value, or why there is none.

    Both by seed; seeds that one of them lacks are left out.
    """
    pairs = [(first[seed], other[seed]) for seed in first if seed in other]
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    known = [(a, b) for a, b in known if a.value is not None and b.value is not None]
    if not known:
        return Cell(reason="no seed has both"), Cell()
    if changed := dict.fromkeys(text for a, b in known for text in differing(a, b)):
        return Cell(reason=f"not comparable: {'; '.join(changed)}"), Cell()
    if len(known) == 1:
        return difference(*known[0], seed=0)
    digits = _DIGITS.get(known[0][0].unit, 2)
    found = _over_seeds(known)
    if found is None:
        return Cell(reason="the runs share no item"), Cell()
    low, high = found.interval or (None, None)
    cell = Cell(found.difference, digits=digits, low=low, high=high, n=found.n or None)
    if found.p_value is None:
        nothing = "no item differs" if not found.difference else "nothing varies"
        return cell, Cell(text=nothing)
    return cell, Cell(found.p_value, digits=_P_DIGITS)


def _over_seeds(known: Sequence[tuple[Metric, Metric]]) -> SeedDifference | None:
    """Compare by items where the metric is a mean over them, else by one number per seed."""
    firsts, others = [a.items for a, _ in known], [b.items for _, b in known]
    clusters: dict[str, str] = {}
    for each in known:
        for metric in each:
            clusters |= metric.clusters or {}
    items = [i for i in (*firsts, *others) if i is not None]
    if len(items) == len(firsts) + len(others):
        ours, theirs = items[len(firsts) :], items[: len(firsts)]
        return paired_seeds(ours, theirs, clusters=clusters or None)
    return seeds_apart([(b.value or 0.0) - (a.value or 0.0) for a, b in known])
