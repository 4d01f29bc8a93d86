"""Cells that several tables of the story share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reports.document import Cell, TableRow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.records import Score
    from core.stages import Ref
    from reports.figures.points import Point
    from reports.results import RunResults

_LONGEST = 80  # characters of a text in a table


def count(number: int, rows: str = "") -> Cell:
    """Return a count."""
    return Cell(value=float(number), digits=0, rows=rows)


def percent(part: int, total: int) -> Cell:
    """Return a share in percent of `total` items; a reason where there are none."""
    if not total:
        return Cell(reason="there are none")
    return Cell(value=100 * part / total, digits=1, n=total)


def of_point(point: Point | None, reason: str, digits: int = 1) -> Cell:
    """Return a mean with its interval, or why there is none."""
    if point is None:
        return Cell(reason=reason)
    return Cell(value=point.value, digits=digits, low=point.low, high=point.high, n=point.n)


def of_score(score: Score | None, *, digits: int = 2, rows: str = "") -> Cell:
    """Return a benchmark's number; a reason where nothing was measured."""
    if score is None:
        return Cell(reason="not among the scores")
    return Cell(
        value=score.value,
        digits=digits,
        low=score.low,
        high=score.high,
        n=score.n,
        missing=score.missing,
        reason=score.reason if score.value is None else None,
        rows=rows,
    )


def counted(names: Mapping[str, int], total: str, rows: str = "") -> tuple[TableRow, ...]:
    """Return a line per name with its count and share, and one for the sum."""
    whole = sum(names.values())
    lines = [TableRow(name, (count(n, rows), percent(n, whole))) for name, n in names.items()]
    last = TableRow(total, (count(whole, rows), percent(whole, whole)))
    return (*lines, last)


def words(name: str) -> str:
    """Return a name of the code as people write it: "similar_to_pool" is "similar to pool"."""
    return name.replace("_", " ")


def excerpt(text: str) -> str:
    """Return the beginning of a text on one line."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1].rstrip() + "…"


def seed_of(results: RunResults) -> int:
    """Return the run's seed; 0 for imported results."""
    return results.config.seed if results.config is not None else 0


def facts_of(results: RunResults, ref: Ref) -> dict[str, Any]:
    """Return what a stage noted in its manifest; {} if it has not been made."""
    return results.manifest(ref).facts if results.exists(ref) else {}
