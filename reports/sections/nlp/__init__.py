"""The NLP benchmarks: scores by task, and the alignment tax against M0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.sections.nlp import alignment_tax, scores
from reports.sections.section import section_of

if TYPE_CHECKING:
    from core.reader import RunReader
    from reports.document import RowGroup


def rows(results: RunReader, most: int) -> list[RowGroup | None]:
    """Return the items of every model and task."""
    return [
        scores.rows(results, model, task, most)
        for model in results.models
        for task in scores.nlp_tasks(results, model)
    ]


SECTION = section_of(
    "nlp",
    "NLP benchmarks",
    figures=(alignment_tax.figure,),
    tables=(scores.table, alignment_tax.table),
    rows=rows,
)
