"""The first section: did the loop work? One sentence, one figure, one table, one example."""

from __future__ import annotations

from reports.sections.outcome import example, figure, table, verdict
from reports.sections.section import section_of

SECTION = section_of(
    "outcome",
    "Did the loop work?",
    paragraphs=verdict.paragraphs,
    figures=(figure.figure,),
    tables=(table.table, example.table),
)
