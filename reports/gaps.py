"""What has no number becomes a sentence: tables, rows and columns that would only hold dashes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reports.document import Gap
from reports.sections.cells import listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reports.document import Cell, Report, Section, Table

_MOST_REASONS = 3
_MOST_NAMES = 6
# Reasons are written to stand alone in a cell; behind "because" these need a subject.
_CLAUSES = {
    "failed": "it failed",
    "not ": "it is not ",
    "nothing": "there is nothing",
    "undefined": "it is undefined",
}


def without_gaps(report: Report) -> Report:
    """Return the report with a sentence for each table, row and column that has no number.

    For readers. The CSV files keep every cell with its reason.
    """
    return replace(report, sections=tuple(map(_section, report.sections)))


def _section(section: Section) -> Section:
    gaps, tables = list(section.gaps), []
    for table in section.tables:
        if _is_gap(table):
            cells = [cell for row in table.rows for cell in row.cells]
            gaps.append(_sentence([table.title], cells, table))
        else:
            tables.append(_filled(table))
    return replace(section, gaps=tuple(gaps), tables=tuple(tables))


def _is_gap(table: Table) -> bool:
    """Whether a table has no number, and in every line a reason why."""
    cells = [cell for row in table.rows for cell in row.cells]
    has_reasons = all(any(map(_reason, row.cells)) for row in table.rows)
    return bool(cells) and has_reasons and not any(map(_is_number, cells))


def _filled(table: Table) -> Table:
    """Return a table without the rows and columns that hold only gaps."""
    columns = [[row.cells[at] for row in table.rows] for at in range(len(table.columns))]
    kept = [at for at, cells in enumerate(columns) if not _only_gaps(cells)]
    rows = [row for row in table.rows if not _only_gaps(row.cells)]
    gone = {
        name: cells
        for at, (name, cells) in enumerate(zip(table.columns, columns, strict=True))
        if at not in kept
    } | {row.label: list(row.cells) for row in table.rows if row not in rows}
    if not gone:
        return table
    return replace(
        table,
        columns=tuple(table.columns[at] for at in kept),
        rows=tuple(replace(row, cells=tuple(row.cells[at] for at in kept)) for row in rows),
        gaps=(*table.gaps, *_sentences(gone, table)),
    )


def _sentences(gone: dict[str, list[Cell]], table: Table) -> Iterable[Gap]:
    """Yield a sentence for all rows and columns that have no number for the same reasons."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for name, cells in gone.items():
        alike.setdefault(_reasons(cells), []).append(name)
    for names in alike.values():
        yield _sentence(names, [cell for name in names for cell in gone[name]], table)


def _sentence(names: list[str], cells: Sequence[Cell], table: Table) -> Gap:
    reasons = _reasons(cells)
    clauses = [_clause(reason) for reason in reasons[:_MOST_REASONS]]
    if len(reasons) > _MOST_REASONS:
        clauses.append(f"and other reasons, in tables/{table.key}.csv")
    rows = dict.fromkeys(cell.rows for cell in cells if cell.rows)
    return Gap(f"{_named(names)}: no number, because {'; '.join(clauses)}.", tuple(rows))


def _named(names: list[str]) -> str:
    """Return the first names, and how many more there are."""
    if (more := len(names) - _MOST_NAMES) > 0:
        names = [*names[:_MOST_NAMES], f"{more} more"]
    return "; ".join(names) if any("," in name for name in names) else listed(names)


def _clause(reason: str) -> str:
    for beginning, clause in _CLAUSES.items():
        if reason.startswith(beginning):
            return clause + reason.removeprefix(beginning)
    return reason.rstrip(".")


def _reasons(cells: Iterable[Cell]) -> tuple[str, ...]:
    """Return the different reasons for the gaps among cells, in their order."""
    return tuple(dict.fromkeys(reason for cell in cells if (reason := _reason(cell))))


def _only_gaps(cells: Sequence[Cell]) -> bool:
    return any(map(_reason, cells)) and not any(_is_number(cell) or cell.text for cell in cells)


def _is_number(cell: Cell) -> bool:
    return cell.value is not None or cell.published is not None


def _reason(cell: Cell) -> str:
    """Return why a cell has nothing to show; "" for one that has, or that is empty on purpose."""
    return "" if _is_number(cell) or cell.text else cell.reason or ""
