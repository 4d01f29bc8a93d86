"""How variants go from iteration to iteration: truth, judge, gaps between scores, over seeds."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from core.benchmarks import BENCHMARKS, FIRST_FEEDBACK_ITERATION
from core.reductions import mean_consistency
from core.seeds import OverSeeds, over_seeds
from core.stages import Ref, Stage
from reports.document import Cell, Section, Table, TableRow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from reports.gate.members import Member

OVER_SEEDS = (
    "Means over the seeds with Student's 95 % interval for other seeds on the same items, and n, "
    "the number of seeds."
)


def mean_cell(over: OverSeeds, digits: int) -> Cell:
    """Return a mean over seeds with its interval and the number of seeds."""
    low, high = over.interval or (None, None)
    return Cell(over.mean, digits=digits, low=low, high=high, n=over.n)


class _Column(NamedTuple):
    """A column of the table by iteration; `value` is None where a run has no such number."""

    title: str
    value: Callable[[Member, int], float | None]
    digits: int = 1
    bounds: tuple[float, float] | None = None


def _metric_value(pattern: str) -> Callable[[Member, int], float | None]:
    """Return a reader of a metric by its id, in which {k} stands for the iteration."""

    def value(run: Member, k: int) -> float | None:
        found = run.metrics.get(pattern.format(k=k))
        return found.value if found is not None else None

    return value


def _rows(run: Member, ref: Ref) -> list[Any]:
    """Return a run's rows, none where it has no such artifact."""
    return run.results.rows(ref) if run.results.exists(ref) else []


def _health(name: str) -> Callable[[Member, int], float | None]:
    """Return a reader of a measurement of an iteration's judgments."""

    def value(run: Member, k: int) -> float | None:
        rows = _rows(run, Ref(k, Stage.HEALTH))
        return next((row.value for row in rows if row.key == name), None)

    return value


def _pair_gap(run: Member, k: int) -> float | None:
    """Return the mean score of chosen answers less that of rejected ones."""
    gaps = [
        row.chosen_score - row.rejected_score
        for row in _rows(run, Ref(k, Stage.PAIRS))
        if row.chosen_score is not None and row.rejected_score is not None
    ]
    return fmean(gaps) if gaps else None


def _consistency(run: Member, k: int) -> float | None:
    """Return how far M_{k-1} and M_{k-2} put the same answers in one order: CREAM's C."""
    return mean_consistency(_rows(run, Ref(k, Stage.CONSISTENCY)))


_PERCENT = (0.0, 100.0)
_COLUMNS = (
    _Column(
        "M_k: prompts followed, %",
        _metric_value(f"M{{k}}/ifeval/{BENCHMARKS['ifeval'].headline}"),
        bounds=_PERCENT,
    ),
    _Column(
        "M_k as a judge: pairs as people rank them, %",
        _metric_value("M{k}/agreement/pairwise_accuracy/ties_half"),
        bounds=_PERCENT,
    ),
    _Column(
        "candidates right, %", _metric_value("truth/iter{k}/candidates_right"), bounds=_PERCENT
    ),
    _Column(
        "judge right of a right and a wrong answer, %",
        _metric_value("truth/iter{k}/judge_accuracy"),
        bounds=_PERCENT,
    ),
    _Column("chosen right, %", _metric_value("truth/iter{k}/chosen_right"), bounds=_PERCENT),
    _Column("rejected right, %", _metric_value("truth/iter{k}/rejected_right"), bounds=_PERCENT),
    _Column("gap of best and worst score", _health("score_gap"), 2),
    _Column("gap of chosen and rejected score", _pair_gap, 2),
    _Column("consistency with the judge before", _consistency, 3, (0.0, 1.0)),
)


def by_iteration(variants: Mapping[str, Sequence[Member]]) -> Section:
    """Return the table by variant and iteration: truth, judge, gap of scores."""
    rows, columns = [], _COLUMNS
    last = max(max(one.results.iterations) for runs in variants.values() for one in runs)
    for variant, runs in variants.items():
        for k in range(FIRST_FEEDBACK_ITERATION - 1, last + 1):
            cells = tuple(_iteration_cell(column, runs, k) for column in columns)
            if any(cell.value is not None for cell in cells):
                rows.append(TableRow(f"{variant}: iteration {k}", cells))
    kept = [
        at for at in range(len(columns)) if any(row.cells[at].value is not None for row in rows)
    ]
    table = Table(
        "group_iterations",
        "By iteration",
        "variant and iteration",
        tuple(columns[at].title for at in kept),
        tuple(TableRow(row.label, tuple(row.cells[at] for at in kept)) for row in rows),
        notes=(
            f"{OVER_SEEDS} Candidates, pairs and scores of iteration k are M_{{k−1}}'s; M_k is "
            "trained on them.",
        ),
    )
    return Section("iterations", "By iteration", tables=(table,) if rows and kept else ())


def _iteration_cell(column: _Column, runs: Sequence[Member], k: int) -> Cell:
    values = [value for one in runs if (value := column.value(one, k)) is not None]
    if not values:
        return Cell()
    return mean_cell(over_seeds(values, column.bounds), column.digits)
