"""Several judge replies made into one result: both orders joined, draws averaged."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from core.records import Judgment, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class MeanScore(NamedTuple):
    """The mean over the draws that could be read; None if none could."""

    mean: float | None
    parsed: int
    draws: int


def item_key(verdict: Verdict) -> str:
    """Return the comparison that one order's verdict belongs to."""
    return verdict.key.removesuffix("/ab").removesuffix("/ba")


def combine(ab: Verdict, ba: Verdict) -> Verdict:
    """Join the two orders' verdicts of `judge_orders`: disagreement is a tie.

    If either order could not be read there is no verdict: half a comparison carries the position
    bias that judging both orders is there to remove.
    """
    replies = (*ab.replies, *ba.replies)
    unparsed = ab.unparsed or ba.unparsed
    agreed = ab.winner if ab.winner == ba.winner else "tie"
    winner = None if unparsed else agreed
    return Verdict(item_key(ab), ab.prompt_key, ab.a, ab.b, winner, unparsed, replies)


def combine_all(orders: Mapping[str, Verdict]) -> list[Verdict]:
    """Join verdicts by single order, keyed by their keys, into one per comparison.

    A verdict under a key without order (identical or absent answers need no judge) stands as it is.
    """
    joined = []
    for key, verdict in sorted(orders.items()):
        if key.endswith("/ab"):
            joined.append(combine(verdict, orders[f"{item_key(verdict)}/ba"]))
        elif not key.endswith("/ba"):
            joined.append(verdict)
    return joined


def mean_scores(judgments: Iterable[Judgment]) -> dict[str, MeanScore]:
    """Return each subject's mean over its readable draws (two of three readable: mean of two)."""
    scores: dict[str, list[float]] = defaultdict(list)
    draws: dict[str, int] = defaultdict(int)
    for judgment in judgments:
        draws[judgment.subject_key] += 1
        if judgment.score is not None:
            scores[judgment.subject_key].append(judgment.score)
    means = {}
    for key, count in draws.items():
        found = scores.get(key, [])
        means[key] = MeanScore(math.fsum(found) / len(found) if found else None, len(found), count)
    return means
