"""The section of a benchmark of one model whose scores and items need nothing of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.benchmarks import BENCHMARKS, Subject
from core.stages import Stage
from reports.document import Item, RowGroup, Table, number
from reports.formats.plotting import shown_name
from reports.sections.cells import Column, model_table, models_of
from reports.sections.items import group, text_or_note
from reports.sections.section import ReportSection, of_models, section_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.reader import RunReader
    from core.records import ItemScore


def plain_section(benchmark: str, columns: Mapping[str, str], *notes: str) -> ReportSection:
    """Return a section with a row per model and the rows of its items.

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
