"""Agreement of the run's head-to-head judge with human votes on the same items.

Only items that both judged and whose answers are still those that annotators saw. No request is
made: the verdicts are those of the head-to-head benchmark.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from core.intervals import bootstrap_ratio, share_score
from core.records import Score
from core.reductions import combine_all
from evaluation.human.statistics import CHOICES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.records import Verdict
    from evaluation.human.statistics import ItemVotes
    from evaluation.human.votes import VoteChoice

AGREEMENT, UNTIED, VOTES = "judge/agreement", "judge/agreement_untied", "judge/vote_agreement"
_NOTHING = "no item that both have judged"


class _JudgedItem(NamedTuple):
    item: ItemVotes
    people: VoteChoice
    judge: VoteChoice


def verdicts_by_item(orders: Sequence[Verdict], *, a: str) -> dict[str, Verdict]:
    """Return the verdict on each prompt, both orders joined, seen from the side of model `a`."""
    joined = combine_all({verdict.key: verdict for verdict in orders})
    return {v.prompt_key: v if v.a == a else v.swapped() for v in joined}


def scores(
    items: Sequence[ItemVotes], verdicts: Mapping[str, Verdict], *, seed: int
) -> list[Score]:
    """Return the judge's agreement with annotators, as shares in [0, 1].

    judge/agreement: with the majority (A, tie or B). Detail: `chance`, the agreement of two
        independent raters with these marginals, `kappa` = (agreement − chance)/(1 − chance),
        None if chance is 1, and counts "people/judge" such as "A/tie".
    judge/agreement_untied: the same over items where neither is a tie.
    judge/vote_agreement: with single votes; compare with people/agreement, the agreement between
        two annotators. Its interval resamples items.

    `missing` counts items with a majority that have no readable verdict on these answers.
    """
    judged: dict[str, VoteChoice] = {
        key: verdict.winner for key, verdict in verdicts.items() if verdict.winner is not None
    }
    decided = [(item, found.choice) for item in items if (found := item.majority) is not None]
    both = [
        _JudgedItem(item, choice, judged[item.item])
        for item, choice in decided
        if item.item in judged
    ]
    missing = len(decided) - len(both)
    untied = [one for one in both if "tie" not in (one.people, one.judge)]
    return [
        _agreement(AGREEMENT, both, missing),
        _agreement(UNTIED, untied, missing),
        _with_votes(both, missing, seed),
    ]


def absent(reason: str) -> list[Score]:
    """Return the same scores without values, with the reason."""
    return [Score(key, None, 0, reason=reason) for key in (AGREEMENT, UNTIED, VOTES)]


def _agreement(key: str, both: Sequence[_JudgedItem], missing: int) -> Score:
    n = len(both)
    if not n:
        return Score(key, None, 0, missing, reason=_NOTHING)
    same = sum(one.people == one.judge for one in both)
    people, judge = Counter(one.people for one in both), Counter(one.judge for one in both)
    chance = sum(people[choice] * judge[choice] for choice in CHOICES) / n**2
    kappa = (same / n - chance) / (1 - chance) if chance < 1 else None
    counts = Counter(f"{one.people}/{one.judge}" for one in both)
    detail = {"chance": chance, "kappa": kappa, **dict(sorted(counts.items()))}
    return share_score(key, same, n, missing, scale=1.0, detail=detail)


def _with_votes(both: Sequence[_JudgedItem], missing: int, seed: int) -> Score:
    if not both:
        return Score(VOTES, None, 0, missing, reason=_NOTHING)
    same = [float(sum(choice == one.judge for choice in one.item.choices)) for one in both]
    counts = [float(len(one.item.votes)) for one in both]
    low, high = bootstrap_ratio(same, counts, seed=seed) or (None, None)
    detail = {"votes": int(sum(counts))}
    return Score(VOTES, sum(same) / sum(counts), len(both), missing, low, high, detail=detail)
