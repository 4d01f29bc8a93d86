"""A report as data: sections of tables and figures, and the rows that numbers lead to.

The formats (markdown.py, csv_files.py, latex.py, html.py) render this and know nothing of runs;
what fills it (tables, figures, story, rows) knows nothing of formats.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

MISSING = "–"


@dataclass(frozen=True, slots=True)
class Published:
    """A published number and its source: "Table 1"."""

    value: float
    source: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: a measured number with its n, a text, or the reason why there is no number.

    A number has `value` (and `low`, `high`: its 95 % interval). Words have `text`. A cell with
    neither says in `reason` why nothing was measured; all None is an empty cell. `n` counts the
    items behind the value, `missing` those left out (unparsed, failed, absent). `published` stands
    beside the value only where comparing is legitimate. `rows` is the key of the `RowGroup` that
    shows the items.
    """

    value: float | None = None
    text: str | None = None
    digits: int = 2
    low: float | None = None
    high: float | None = None
    n: int | None = None
    missing: int = 0
    reason: str | None = None
    published: Published | None = None
    rows: str = ""


@dataclass(frozen=True, slots=True)
class TableRow:
    """A line of a table. `kind` "published": other people's numbers, set apart from measured."""

    label: str
    cells: tuple[Cell, ...]
    kind: Literal["measured", "published"] = "measured"


@dataclass(frozen=True, slots=True)
class Gap:
    """What has no number and why, as a sentence; `rows`: row groups that show what was tried."""

    text: str
    rows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """A table as the paper prints it.

    `key` is its file name ("alpaca_eval"), `origin` the paper's table or figure ("Table 1", empty
    if it has none), `head` the title of the first column. `notes` are sentences that stand below:
    what limits the numbers, and why published ones are not beside them. `gaps` stand there too.
    """

    key: str
    title: str
    head: str
    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]
    origin: str = ""
    notes: tuple[str, ...] = ()
    gaps: tuple[Gap, ...] = ()


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure as SVG text and as PDF. `description` is its text alternative."""

    key: str
    title: str
    svg: str
    description: str
    origin: str = ""
    notes: tuple[str, ...] = ()
    pdf: bytes = b""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report, in this order: paragraphs, figures, tables, gaps (tables left out)."""

    key: str
    title: str
    paragraphs: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    gaps: tuple[Gap, ...] = ()


@dataclass(frozen=True, slots=True)
class Link:
    """A way from one row to another: "the pair it became"."""

    label: str
    group: str
    row: str


@dataclass(frozen=True, slots=True)
class Item:
    """One row that a number rests on.

    `cells` are short, one per column of its group; `parts` are headings with texts of any length
    and origin (untrusted: models and judges wrote them), such as ("The judge's reply", "...").
    """

    key: str
    cells: tuple[str, ...]
    parts: tuple[tuple[str, str], ...] = ()
    links: tuple[Link, ...] = ()


@dataclass(frozen=True, slots=True)
class RowGroup:
    """The rows behind some numbers.

    `total` counts all rows, also those that were left out of `items` to keep the file small;
    `artifact` is the address of the artifact that holds them all ("eval/M1/nlp/piqa/items").
    """

    key: str
    title: str
    columns: tuple[str, ...]
    items: tuple[Item, ...]
    total: int
    artifact: str


@dataclass(frozen=True, slots=True)
class Artifact:
    """A manifest as a report shows it: what was made, from what, by which code."""

    address: str
    title: str
    path: str
    sha256: str
    inputs: Mapping[str, str]
    config: Mapping[str, object]
    seed: int
    rows: int | None
    counts: Mapping[str, int]
    engine: str | None
    code_version: str
    finished_at: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Report:
    """The whole: a title, facts about the run (name, value), sections, rows and manifests."""

    title: str
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
    groups: Mapping[str, RowGroup] = field(default_factory=dict)
    artifacts: Mapping[str, Artifact] = field(default_factory=dict)

    @property
    def tables(self) -> list[Table]:
        """Return all tables in order."""
        return [table for section in self.sections for table in section.tables]

    @property
    def figures(self) -> list[Figure]:
        """Return all figures in order."""
        return [figure for section in self.sections for figure in section.figures]


def number(value: float, digits: int = 2) -> str:
    """Return a number as every format prints it: fixed digits, a real minus sign, no −0.00."""
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


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
