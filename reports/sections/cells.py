"""Cells, labels and sentences that the tables of several sections share."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from core.benchmarks import BENCHMARKS, Subject
from core.paired import holm
from core.stages import model_ref
from reports.document import Cell, Published, Table, TableRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from core.reader import RunReader
    from core.records import Score
    from core.stages import Ref
    from reports.sections.drawing import Point

EMPTY = Cell()
P_VALUE_DIGITS = 4
P_VALUE_NOTE = "p: two-sided; 0.0000 is below 0.00005."
GRADED = tuple(f for f in BENCHMARKS.values() if f.of == "model" and f.unit == "points")
"""Benchmarks whose answers the judge grades one by one, in points."""


class Column(NamedTuple):
    """A column of scores; `scale` 100 turns a share into percent."""

    title: str
    digits: int = 2
    scale: float = 1.0


PERCENT = 100.0
RATES = {
    "win": Column("win", 1),
    "tie": Column("tie", 1),
    "lose": Column("lose", 1),
    "net": Column("net (win − lose)", 1),
    "sign_test": Column("sign test p", P_VALUE_DIGITS),
}
"""Scores of a matchup: of a judge's verdicts, and of people's votes."""


def titles(columns: Mapping[str, Column]) -> tuple[str, ...]:
    """Return the columns' titles."""
    return tuple(column.title for column in columns.values())


def label(model: str) -> str:
    """Return a model's name as tables print it."""
    return "SFT baseline" if model == "sft" else model


def versus(a: str, b: str) -> str:
    """Return a matchup as tables print it."""
    return f"{label(a)} vs {label(b)}"


def asked_models(results: RunReader, benchmark: str) -> tuple[str, ...]:
    """Return the models that the configuration wants a benchmark of; () if it does not want it."""
    asked = results.config.evaluation if results.config is not None else None
    return asked.models if asked is not None and benchmark in asked.benchmarks else ()


def models_of(results: RunReader, benchmark: str) -> tuple[str, ...]:
    """Return the models that a benchmark's table has rows for; () if there is no such table.

    Those of the configuration if it wants the benchmark, measured or not, and any others that have
    scores.
    """
    asked = asked_models(results, benchmark)
    return tuple(m for m in results.models if m in asked or results.scores(f"{m}/{benchmark}"))


def cell_of(
    results: RunReader,
    address: str,
    key: str,
    *,
    digits: int = 2,
    published: Published | None = None,
    scale: float = 1.0,
) -> Cell:
    """Return one score of a benchmark, times `scale`, as a cell, or why there is none."""
    found = results.scores(address)
    if not found:
        return Cell(reason=results.why_absent(address) or "no scores", published=published)
    if key not in found:
        return Cell(reason="not measured", published=published, rows=address)
    score = found[key]
    value, low, high = (
        None if end is None else scale * end for end in (score.value, score.low, score.high)
    )
    reason = (score.reason or "nothing to measure") if value is None else None
    return Cell(value, None, digits, low, high, score.n, score.missing, reason, published, address)


def cells_of(
    results: RunReader,
    address: str,
    columns: Mapping[str, Column],
    published: Callable[[str], Published | None] = lambda _: None,
) -> tuple[Cell, ...]:
    """Return a cell per column; `columns` and `published` go by the scores' keys."""
    return tuple(
        cell_of(results, address, key, digits=c.digits, published=published(key), scale=c.scale)
        for key, c in columns.items()
    )


def model_table(
    results: RunReader,
    benchmark: str,
    models: tuple[str, ...],
    columns: Mapping[str, Column],
    published: Callable[[str, str], Published | None] = lambda *_: None,
    *,
    key: str,
    title: str,
    origin: str = "",
    notes: tuple[str, ...],
) -> Table | None:
    """Return a row per model, with the numbers published for it; None without models.

    A last note names failures since the results were made.
    """
    places = [(model, Subject(benchmark, (model,)).address) for model in models]
    rows = [
        TableRow(label(model), cells_of(results, place, columns, partial(published, model)))
        for model, place in places
    ]
    if not rows:
        return None
    notes = (*notes, *failures_since(results, places))
    return Table(key, title, "model", titles(columns), tuple(rows), origin, notes)


def noise_note(noise: Score | None, whose: str) -> str:
    """Return how much of a mean's uncertainty is the judge's own, or that it is unknown."""
    if noise is None or noise.value is None or noise.detail is None:
        why = (noise.reason if noise is not None else None) or "each item was judged once"
        return (
            f"{whose} noise is unknown, since {why}: the intervals hold it together with the "
            "choice of items."
        )
    share = noise.detail["judge_share"]
    part = f", {100 * share:.0f} % of the mean's variance" if share is not None else ""
    return (
        f"{whose} noise: repeated judgments of one item deviate by {noise.value:.2f} points "
        f"({noise.n} items){part}; the items' own levels by {noise.detail['between_sd']:.2f}. "
        "The intervals hold both."
    )


def with_holm(rows: Sequence[TableRow], column: int) -> tuple[TableRow, ...]:
    """Return rows with a last cell: Holm's p over the p-values of a column of the table."""
    tested = [at for at, row in enumerate(rows) if row.cells[column].value is not None]
    adjusted = dict(
        zip(tested, holm([rows[at].cells[column].value or 0.0 for at in tested]), strict=True)
    )
    return tuple(
        replace(row, cells=(*row.cells, replace(row.cells[column], value=adjusted.get(at))))
        for at, row in enumerate(rows)
    )


def holm_note(rows: Sequence[TableRow], what: str) -> str:
    """Return what the last column of `with_holm` is corrected for; `what` are its tests."""
    tested = sum(row.cells[-1].value is not None for row in rows)
    return (
        f"Holm's p is corrected for the {tested} {what}: where it is at most 0.05, the chance of "
        "any false claim among them is at most 5 %."
    )


def failures_since(results: RunReader, places: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Return a sentence for each (name, address) whose results are older than a failed one."""
    return tuple(
        f"{name}: the last attempt failed ({failure}); the numbers are those of an earlier one."
        for name, address in places
        if results.scores(address) and (failure := results.failure(address)) is not None
    )


def counted(counts: dict[str, int]) -> str:
    """Return reasons and how often each: "refused 2, unparsed 1"."""
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def listed(names: Sequence[str]) -> str:
    """Return names joined for a sentence: "M1, M2 and M3"."""
    if len(names) < 2:  # noqa: PLR2004 - one name is no list
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def count(number: int, rows: str = "") -> Cell:
    """Return a count."""
    return Cell(value=float(number), digits=0, rows=rows)


def of_point(point: Point | None, reason: str, digits: int = 1) -> Cell:
    """Return a mean with its interval, or why there is none."""
    if point is None:
        return Cell(reason=reason)
    return Cell(value=point.value, digits=digits, low=point.low, high=point.high, n=point.n)


def why_unknown(results: RunReader, address: str, score: Score | None) -> str:
    """Return why a score has no value."""
    reason = score.reason if score is not None else "no such score"
    return str(results.why_absent(address) or reason)


def counted_rows(
    names: Mapping[str, int], total: str, rows: str = "", *, total_count: int | None = None
) -> tuple[TableRow, ...]:
    """Return a line per name with its count and share in percent, and one for all (the sum)."""
    whole = sum(names.values()) if total_count is None else total_count

    def share(part: int) -> Cell:
        if not whole:
            return Cell(reason="there are none")
        return Cell(value=100 * part / whole, digits=1, n=whole)

    lines = (*names.items(), (total, whole))
    return tuple(TableRow(name, (count(n, rows), share(n))) for name, n in lines)


def words(name: str) -> str:
    """Return a name without underscores: "similar_to_pool" is "similar to pool"."""
    return name.replace("_", " ")


def seed_of(results: RunReader) -> int:
    """Return the run's seed, as M0 was made with; 0 for imported results."""
    base = results.known_manifest(model_ref(0))
    if base is not None:
        return base.key.seed
    return results.config.seed if results.config is not None else 0


def facts_of(results: RunReader, ref: Ref) -> dict[str, Any]:
    """Return the facts in a stage's manifest; {} if it has not been made."""
    manifest = results.known_manifest(ref)
    return manifest.facts if manifest is not None else {}
