"""What one section of a report is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from reports.document import Figure, RowGroup, Section, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from core.reader import RunReader


class ReportSection(NamedTuple):
    """An entry of `reports.sections.SECTIONS`: the sections that it adds, and the rows behind them.

    `rows` takes the most rows to keep behind one number.
    """

    build: Callable[[RunReader], Iterable[Section]]
    rows: Callable[[RunReader, int], Iterable[RowGroup | None]] = lambda *_: ()


def section_of(
    key: str,
    title: str,
    *,
    paragraphs: Callable[[RunReader], tuple[str, ...]] = lambda _: (),
    figures: tuple[Callable[[RunReader], Figure | None], ...] = (),
    tables: tuple[Callable[[RunReader], Table | None], ...] = (),
    rows: Callable[[RunReader, int], Iterable[RowGroup | None]] = lambda *_: (),
) -> ReportSection:
    """Return an entry that adds one section; what a function returns None for is left out."""

    def build(results: RunReader) -> tuple[Section]:
        drawn = [figure for draw in figures if (figure := draw(results)) is not None]
        filled = [table for fill in tables if (table := fill(results)) is not None]
        return (Section(key, title, paragraphs(results), tuple(drawn), tuple(filled)),)

    return ReportSection(build, rows)


def of_models(
    rows: Callable[[RunReader, str, int], RowGroup | None],
) -> Callable[[RunReader, int], Iterable[RowGroup | None]]:
    """Return the rows of every model of a run, given those of one."""
    return lambda results, most: [rows(results, model, most) for model in results.models]
