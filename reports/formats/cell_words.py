"""The parts of a cell that every text format prints, unescaped."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from reports.document import number

if TYPE_CHECKING:
    from reports.document import Cell

MISSING = "–"


class CellWords(NamedTuple):
    """The parts of a cell as text, unescaped; "" for those it does not have.

    `main` is the value, the words, or a dash for a missing number; `interval` "[1.00, 2.00]";
    `counts` "n=20, 1 missing"; `reason` why there is no number; `published` "2.59 (Table 1)".
    """

    main: str
    interval: str
    counts: str
    reason: str
    published: str


def words(cell: Cell) -> CellWords:
    """Return the parts of a cell; all empty for a cell that is all None."""
    interval = ""
    if cell.low is not None and cell.high is not None:
        interval = f"[{number(cell.low, cell.digits)}, {number(cell.high, cell.digits)}]"
    counts = [] if cell.n is None else [f"n={cell.n}"]
    counts += [f"{cell.missing} missing"] if cell.missing else []
    published = ""
    if cell.published is not None:
        theirs = number(cell.published.value, cell.digits)
        published = f"{theirs} ({cell.published.source})"
    if cell.value is not None:
        main = number(cell.value, cell.digits)
    elif cell.text is not None:
        main = cell.text
    else:
        main = MISSING if cell.reason is not None else ""
    is_absent = cell.value is None and cell.text is None
    reason = (cell.reason or "") if is_absent else ""
    return CellWords(main, interval, ", ".join(counts), reason, published)


def heading(title: str, origin: str) -> str:
    """Return a table's or figure's title with the paper's table or figure behind it."""
    return f"{title} ({origin})" if origin else title
