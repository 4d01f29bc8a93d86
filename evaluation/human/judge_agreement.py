"""Agreement of the run's head-to-head judge with human votes on the same items.

Only items that both judged and whose answers are still those that annotators saw. No request is
made: the verdicts are those of the head-to-head benchmark.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from core.intervals import share_score
from core.records import Score
from core.reductions import combine_all
from evaluation.human.statistics import CHOICES, ratio_score

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.records import Verdict
    from evaluation.human.statistics import ItemVotes
    from evaluation.human.votes import VoteChoice

AGREEMENT, UNTIED, VOTES = "judge/agreement", "judge/agreement_untied", "judge/vote_agreement"
_NOTHING = "no item that both have judged"


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
    judged = {key: verdict.winner for key, verdict in verdicts.items() if verdict.winner}
    decided = [(item, found.choice) for item in items if (found := item.majority) is not None]
    both = [(item, people, judged[item.item]) for item, people in decided if item.item in judged]
    missing = len(decided) - len(both)
    choices = [(people, judge) for _, people, judge in both]
    votes = [(item.choices.count(judge), len(item.votes)) for item, _, judge in both]
    return [
        _agreement(AGREEMENT, choices, missing),
        _agreement(UNTIED, [pair for pair in choices if "tie" not in pair], missing),
        ratio_score(VOTES, votes, missing, seed=seed, of="votes", reason=_NOTHING),
    ]


def absent(reason: str) -> list[Score]:
    """Return the same scores without values, with the reason."""
    return [Score(key, None, 0, reason=reason) for key in (AGREEMENT, UNTIED, VOTES)]


def _agreement(key: str, choices: Sequence[tuple[VoteChoice, VoteChoice]], missing: int) -> Score:
    """Score the agreement of (people, judge) choices."""
    n = len(choices)
    if not n:
        return Score(key, None, 0, missing, reason=_NOTHING)
    same = sum(people == judge for people, judge in choices)
    people, judge = (Counter(side) for side in zip(*choices, strict=True))
    chance = sum(people[choice] * judge[choice] for choice in CHOICES) / n**2
    kappa = (same / n - chance) / (1 - chance) if chance < 1 else None
    counts = Counter(map("/".join, choices))
    detail = {"chance": chance, "kappa": kappa, **dict(sorted(counts.items()))}
    return share_score(key, same, n, missing, scale=1.0, detail=detail)
