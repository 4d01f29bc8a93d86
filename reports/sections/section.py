"""What a section of a report is made of, and the section of a benchmark with nothing of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from core.benchmarks import BENCHMARKS, Subject
from core.stages import Stage
from reports.document import Figure, Item, RowGroup, Section, Table, number
from reports.formats.plotting import shown_name
from reports.sections.cells import Column, model_table, models_of
from reports.sections.items import group, text_or_note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from core.reader import RunReader
    from core.records import ItemScore


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


def plain_section(benchmark: str, columns: Mapping[str, str], *notes: str) -> ReportSection:
    """Return the section of a benchmark of one model: a row per model, and the rows of its items.

    `columns`: the titles of the scores to show, by their keys.
    """
    facts = BENCHMARKS[benchmark]

    def table(results: RunReader) -> Table | None:
        title = f"{facts.title} ({'%' if facts.unit == 'percent' else facts.unit})"
        shown = {key: Column(name) for key, name in columns.items()}
        models = models_of(results, benchmark)
        return model_table(
            results, benchmark, models, shown, key=benchmark, title=title, notes=notes
        )

    def rows(results: RunReader, model: str, most: int) -> RowGroup | None:
        ref = Subject(benchmark, (model,)).ref(Stage.ITEMS)
        found: list[ItemScore] = results.rows(ref)
        metrics = tuple(dict.fromkeys(name for row in found for name in row.metrics))
        columns_shown = ("item", *(columns.get(name, name) for name in metrics))
        title = f"{facts.title}, {shown_name(model)}"
        return group(results, ref, title, columns_shown, lambda row: _item(row, metrics), most=most)

    return section_of(benchmark, facts.title, tables=(table,), rows=of_models(rows))


def _item(row: ItemScore, metrics: tuple[str, ...]) -> Item:
    values = (row.metrics.get(name) for name in metrics)
    cells = (row.item, *("missing" if value is None else number(value) for value in values))
    parts = []
    for name, value in row.detail.items():
        lines = [f"{k}: {v}" for k, v in value.items()] if isinstance(value, dict) else [str(value)]
        parts.append((name, text_or_note("\n".join(lines))))
    return Item(row.key, cells, tuple(parts))
