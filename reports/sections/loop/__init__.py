"""The training loop: what every iteration did with its data, and early signs of collapse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.stages import Ref, Stage
from reports.sections.loop import data, iteration, judging, seed
from reports.sections.section import ReportSection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.reader import RunReader
    from reports.document import RowGroup, Section


def sections(results: RunReader) -> list[Section]:
    """Return a section for iteration 1 and one for each later iteration that has prompts.

    [] for a folder of imported results, which was trained elsewhere.
    """
    if not results.exists(Ref(1, Stage.IFT)):
        return []
    return [
        seed.section(results),
        *(iteration.section(results, k) for k in results.feedback_iterations),
    ]


def rows(results: RunReader, most: int) -> Iterator[RowGroup | None]:
    """Yield the rows of the judge probes and of every iteration."""
    yield from judging.probe_rows(results, most)
    for k in results.feedback_iterations:
        yield from data.rows(results, k, most)
        yield judging.self_judge_rows(results, k, most)
        yield judging.contamination_rows(results, k, most)


SECTION = ReportSection(sections, rows)
