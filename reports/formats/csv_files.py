"""A report's tables as tidy CSV: one line per cell, at full precision."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reports.document import Cell, Report, TableRow

HEADER = (
    "row", "column", "value", "low", "high", "n", "missing", "reason", "published",
    "published_source", "text", "kind",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\n")


def tables(report: Report) -> dict[str, str]:
    """Return, per table, the name of its file and its text; empty fields are numbers nobody has.

    `kind` is "measured" or "published" (other people's numbers). A text that a spreadsheet would
    take for a formula gets an apostrophe in front.
    """
    found = {}
    for table in report.tables:
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(HEADER)
        for row in table.rows:
            cells = zip(table.columns, row.cells, strict=True)
            writer.writerows(_line(row, column, cell) for column, cell in cells)
        found[f"{table.key}.csv"] = out.getvalue()
    return found


def _line(row: TableRow, column: str, cell: Cell) -> list[str]:
    published = cell.published
    numbers = [cell.value, cell.low, cell.high]
    return [
        _safe(row.label),
        _safe(column),
        *("" if one is None else repr(float(one)) for one in numbers),
        "" if cell.n is None else str(cell.n),
        str(cell.missing),
        _safe(cell.reason or ""),
        "" if published is None else repr(float(published.value)),
        "" if published is None else _safe(published.source),
        _safe(cell.text or ""),
        row.kind,
    ]


def _safe(text: str) -> str:
    # A lone carriage return would end the line for readers, but the csv module does not quote it.
    plain = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")
    return f"'{plain}" if plain.startswith(_FORMULA) else plain
