"""The paper's own results as tables, separate from the run's."""

from __future__ import annotations

from reports.document import Cell, Published, Section, Table, TableRow
from reports.published.published import PAPER, PublishedTable, rows_of
from reports.sections.cells import label
from reports.sections.section import ReportSection

_ABOUT = (
    "Yuan et al. (ICML 2024, arXiv 2401.10020 v3): Llama 2 70B, judged by GPT-4. These numbers are "
    "not from this run, and nothing above was measured under their conditions unless a table above "
    "says so."
)
_LI_PROMPT = "sft_li"


def section() -> Section:
    """Return what the paper reports."""
    tables = tuple(_table(table) for table in PAPER.tables if table.title)
    return Section("paper", "What the paper reports", paragraphs=(_ABOUT,), tables=tables)


def _table(table: PublishedTable) -> Table:
    columns = [name.removeprefix("category/").replace("_", " ") for name in table.columns]
    digits = table.digits or (2,) * len(columns)
    rows = dict(table.rows)
    if len(columns) == 1:  # a ranking: the paper's models among the leaderboard's
        others = rows_of(table.benchmark, table.columns[0], "leaderboard")
        ranked = {**{name: values[0] for name, values in rows.items()}, **others}
        if others:
            ranked = dict(sorted(ranked.items(), key=lambda entry: -entry[1]))
        rows = {name: (value,) for name, value in ranked.items()}
    return Table(
        f"paper_{table.benchmark}",
        table.title,
        table.head,
        tuple(columns),
        tuple(
            TableRow(
                _row_label(table, name),
                tuple(
                    Cell(digits=places, published=Published(value, table.source))
                    for value, places in zip(values, digits, strict=True)
                ),
                kind="published",
            )
            for name, values in rows.items()
        ),
        origin=table.source,
    )


def _row_label(table: PublishedTable, name: str) -> str:
    if table.head == "matchup":
        return " vs ".join(map(label, name.split("-")))
    return "SFT baseline, Li et al.'s prompt" if name == _LI_PROMPT else label(name)


SECTION = ReportSection(lambda results: (section(),) if not results.only_imported else ())
