"""The rows behind the numbers, as a reader of a report sees them.

Keys of groups: "<model>/alpaca_eval", "<model>/mt_bench", "<model>/nlp/<task>",
"<model>/agreement", "head_to_head/<A>-<B>", "human/<A>-<B>"; of an iteration "prompts/iter<k>",
"judgments/iter<k>", "pairs/iter<k>", "self_judge/iter<k>", "contamination/iter<k>"; "probe/M0",
"probe/M1" and "eft_judgments".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.figures.nlp import nlp_tasks
from reports.rows import comparisons, graded, human, judging, training

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reports.document import RowGroup
    from reports.results import RunResults


def groups(results: RunResults, *, most: int = 1000) -> dict[str, RowGroup]:
    """Return the groups of a run that have an artifact, each with at most `most` rows."""
    found = (*_of_models(results, most), *_of_iterations(results, most))
    return {group.key: group for group in found if group is not None}


def _of_models(results: RunResults, most: int) -> Iterator[RowGroup | None]:
    for a, b in results.matchups:
        yield comparisons.head_to_head(results, a, b, most)
    for a, b in results.studies:
        yield human.votes(results, a, b, most)
    for model in results.models:
        yield comparisons.alpaca_eval(results, model, most)
        yield graded.mt_bench(results, model, most)
        for task in nlp_tasks(results, model):
            yield graded.nlp(results, model, task, most)
        yield judging.agreement(results, model, most)


def _of_iterations(results: RunResults, most: int) -> Iterator[RowGroup | None]:
    yield from judging.probes(results, most)
    for k in results.iterations:
        yield from training.of_iteration(results, k, most)
        yield judging.self_judge(results, k, most)
        yield training.contamination(results, k, most)
