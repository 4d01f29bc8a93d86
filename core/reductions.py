"""Several judge replies made into one result: both orders joined, draws averaged."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Literal, NamedTuple

from core.records import Judgment, OrderAgreement, Score, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_EVEN = 0.5


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

    Verdicts with a `chance` are averaged instead, so that a preference for a position cancels.

    If either order could not be read there is no verdict: half a comparison carries the position
    bias that judging both orders is there to remove.
    """
    replies = (*ab.replies, *ba.replies)
    unparsed = ab.unparsed or ba.unparsed
    names = (item_key(ab), ab.prompt_key, ab.a, ab.b)
    if unparsed:
        return Verdict(*names, None, unparsed, replies)
    if ab.chance is None or ba.chance is None:
        return Verdict(*names, ab.winner if ab.winner == ba.winner else "tie", None, replies)
    chance = (ab.chance + ba.chance) / 2
    return Verdict(*names, winner_of(chance), None, replies, chance=chance)


def winner_of(chance: float) -> Literal["A", "B", "tie"]:
    """Return who is the more probable winner; a tie if both are equally so."""
    return "tie" if chance == _EVEN else "A" if chance > _EVEN else "B"


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


def draws_of(judgments: Iterable[Judgment]) -> dict[str, list[float]]:
    """Return each subject's readable scores; subjects without any are left out."""
    scores: dict[str, list[float]] = defaultdict(list)
    for judgment in judgments:
        if judgment.score is not None:
            scores[judgment.subject_key].append(judgment.score)
    return scores


def mean_scores(judgments: Iterable[Judgment]) -> dict[str, MeanScore]:
    """Return each subject's mean over its readable draws (two of three readable: mean of two)."""
    every = list(judgments)
    scores, draws = draws_of(every), Counter(judgment.subject_key for judgment in every)
    means = {}
    for key, count in draws.items():
        found = scores.get(key, [])
        means[key] = MeanScore(math.fsum(found) / len(found) if found else None, len(found), count)
    return means


def scores_by_prompt(judgments: Iterable[Judgment]) -> dict[str, dict[str, float]]:
    """Return the mean scores of each prompt's subjects; those without a score are left out."""
    every = list(judgments)
    prompt_of = {judgment.subject_key: judgment.prompt_key for judgment in every}
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for key, score in mean_scores(every).items():
        if score.mean is not None:
            found[prompt_of[key]][key] = score.mean
    return dict(found)


def mean_consistency(agreements: Iterable[OrderAgreement]) -> float | None:
    """Return CREAM's C, the mean over prompts of (tau + 1)/2; None if no prompt has a tau."""
    found = [c for row in agreements if (c := row.consistency) is not None]
    return math.fsum(found) / len(found) if found else None


def judge_noise(key: str, judged: Iterable[Sequence[float]]) -> Score:
    """Return how far a judge's repeated judgments of one item deviate from each other, as a score.

    `judged` has each item's scores. The value is the standard deviation within items, pooled; `n`
    the items that were judged more than once; without any there is no value and a reason. Detail:
    `between_sd`, that of the items' own levels, and `judge_share`, the judge's part of the variance
    of the mean over all scores: what more draws would remove, the rest needs more items.

    Source: analysis of variance with random effects, one way, unequal groups (Searle 1971).
    """
    groups = [list(found) for found in judged if found]
    scores, repeated = sum(map(len, groups)), sum(len(found) > 1 for found in groups)
    if not repeated:
        reason = "each item was judged once" if groups else "nothing was judged"
        return Score(key, None, 0, reason=reason)
    means = [math.fsum(found) / len(found) for found in groups]
    squares = sum((x - mean) ** 2 for found, mean in zip(groups, means, strict=True) for x in found)
    within = squares / (scores - len(groups))
    between, sizes = 0.0, sum(len(found) ** 2 for found in groups)
    if len(groups) > 1:
        middle = math.fsum(map(math.fsum, groups)) / scores
        apart = sum(len(x) * (mean - middle) ** 2 for x, mean in zip(groups, means, strict=True))
        size = (scores - sizes / scores) / (len(groups) - 1)
        between = max(0.0, (apart / (len(groups) - 1) - within) / size)
    by_judge, by_items = within / scores, between * sizes / scores**2
    whole = by_judge + by_items
    detail = {
        "between_sd": math.sqrt(between),
        "judge_share": by_judge / whole if whole else None,
    }
    return Score(key, math.sqrt(within), repeated, detail=detail)
