"""Pairs across time: rejected answers of the past, chosen answers of the future.

Where a model answers and judges alone, its best and its worst answer become alike from one
iteration to the next, and pairs teach less. Source: Temporal Self-Rewarding (arXiv 2508.06026):
anchored rejection and future-guided chosen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.records import Candidate, Judgment
    from training.data.pairs import Pair, ScoredCandidate

FUTURE = "future"


class Answers(NamedTuple):
    """What another model answered to an iteration's prompts, and M_{k-1}'s judgments of it."""

    by: str
    candidates: Sequence[Candidate]
    judgments: Sequence[Judgment]


class Others(NamedTuple):
    """The answers of other models, None where they have no part in the pairs; `own`: M_{k-1}."""

    own: str = ""
    past: Answers | None = None
    future: Answers | None = None


def across(pair: Pair, past: Sequence[ScoredCandidate], future: Sequence[ScoredCandidate]) -> Pair:
    """Return M_{k-1}'s pair with a worse answer of the past and a better one of the future.

    Answers of others come in only where their scores are beyond those of the pair; of equals, the
    earliest draw.
    """
    worst = min(past, key=lambda item: item.score, default=pair.rejected)
    best = max(future, key=lambda item: item.score, default=pair.chosen)
    return pair._replace(
        chosen=best if best.score > pair.chosen.score else pair.chosen,
        rejected=worst if worst.score < pair.rejected.score else pair.rejected,
    )
