"""The NLP benchmarks: scores by task, and the alignment tax against M0."""

from __future__ import annotations

from reports.sections.nlp import alignment_tax, scores
from reports.sections.section import section_of

SECTION = section_of(
    "nlp",
    "NLP benchmarks",
    figures=(alignment_tax.figure,),
    tables=(scores.table, alignment_tax.table),
    rows=lambda results, most: [
        scores.rows(results, model, task, most)
        for model in results.models
        for task in scores.nlp_tasks(results, model)
    ],
)
