"""Statistics of a comparison's votes: majorities, win/tie/lose, agreement of people and judge.

The majority of an item is the choice of more than half of the annotators. Without one (one
for A, one for B, one tie; or two against two) the item is a tie, counted separately. An item counts
once every annotator has voted on it: before that its majority could still change.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple, get_args

from core.intervals import ratio_interval, share_score
from core.paired import net_interval, sign_test
from core.records import Score
from core.reductions import combine_all
from evaluation.human.krippendorff import NO_PAIRS, krippendorff_alpha
from evaluation.human.votes import VoteChoice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.records import Verdict
    from evaluation.human.votes import Vote

CHOICES: tuple[VoteChoice, ...] = get_args(VoteChoice)
_IN_ORDER = ("A", "tie", "B")  # for ordinal agreement a tie lies between the two
POINTS = {"A": 100.0, "tie": 0.0, "B": -100.0}
_RATES: tuple[tuple[str, VoteChoice], ...] = (("win", "A"), ("tie", "tie"), ("lose", "B"))
AGREEMENT, UNTIED, VOTES = "judge/agreement", "judge/agreement_untied", "judge/vote_agreement"
_NOT_JUDGED = "no item that both have judged"
_NOTHING = "no item has the votes of all annotators yet"


class Majority(NamedTuple):
    """The choice of the majority; without one "tie", and `split` is True."""

    choice: VoteChoice
    split: bool


class ItemVotes(NamedTuple):
    """The votes on one item, and the number of annotators."""

    item: str
    votes: tuple[Vote, ...]
    wanted: int

    @property
    def choices(self) -> tuple[VoteChoice, ...]:
        """The choices in the order of voting."""
        return tuple(vote.choice for vote in self.votes)

    @property
    def majority(self) -> Majority | None:
        """The majority; None while a vote is missing."""
        return majority(self.choices) if len(self.votes) == self.wanted else None


def majority(choices: Sequence[VoteChoice]) -> Majority:
    """Return the choice of more than half; a tie by split if there is none.

    Raises:
        ValueError: there are no choices.
    """
    if not choices:
        message = "no choices"
        raise ValueError(message)
    first, count = Counter(choices).most_common(1)[0]
    return Majority(first, split=False) if 2 * count > len(choices) else Majority("tie", split=True)


def by_item(
    items: Sequence[str], votes: Sequence[Vote], annotators: Sequence[str]
) -> list[ItemVotes]:
    """Return the votes of these annotators on each item, in the items' order."""
    found: dict[str, list[Vote]] = {item: [] for item in items}
    for vote in votes:
        if vote.annotator in annotators:
            found[vote.item].append(vote)
    return [ItemVotes(item, tuple(given), len(annotators)) for item, given in found.items()]


def scores(items: Sequence[ItemVotes]) -> list[Score]:
    """Return win, tie and lose of A by majority, and inter-annotator agreement.

    win, tie, lose: % of the items that all have voted on, with Wilson's interval. Detail of tie:
        `voted` (a majority for "tie"), `no_majority`, and of these `three_way` (A, B and tie were
        all chosen).
    net: win minus lose, with Tango's interval.
    sign_test: two-sided p of wins against losses, ties dropped.
    people/alpha, people/alpha_ordinal: Krippendorff's alpha over items with two or more votes; in
        the ordinal one a tie lies between A and B. None where it is undefined, with the reason.
    people/agreement: share of pairs of votes on one item that are the same, in [0, 1].
    people/unanimous: share of the items that all have voted on on which they agree.
    people/left_wins: share of the votes for a side that are for the left one; 0.5 without position
        bias. In its interval, like that of people/agreement, an item is one cluster.

    `missing` counts items that lack a vote; for alpha and people/agreement those without two votes,
    for people/left_wins those without any.
    """
    complete = [(item, found) for item in items if (found := item.majority) is not None]
    missing = len(items) - len(complete)
    split = [item for item, found in complete if found.split]
    ties = {
        "voted": sum(found.choice == "tie" for _, found in complete) - len(split),
        "no_majority": len(split),
        "three_way": sum(set(item.choices) == set(CHOICES) for item in split),
    }
    units = [item.choices for item in items]
    return [
        *_rates([found.choice for _, found in complete], missing, ties),
        krippendorff_alpha("people/alpha", units, _IN_ORDER, level="nominal"),
        krippendorff_alpha("people/alpha_ordinal", units, _IN_ORDER, level="ordinal"),
        _agreement(items),
        _unanimous([item for item, _ in complete], missing),
        _left_wins(items),
    ]


def _rates(majorities: Sequence[VoteChoice], missing: int, ties: dict[str, int]) -> list[Score]:
    n, counts = len(majorities), Counter(majorities)
    rates = [
        share_score(key, counts[choice], n, missing, reason=_NOTHING) for key, choice in _RATES
    ]
    if not n:
        return rates + [Score(k, None, 0, missing, reason=_NOTHING) for k in ("net", "sign_test")]
    rates[1] = replace(rates[1], detail=ties)
    wins, losses = counts["A"], counts["B"]
    low, high = net_interval(wins, losses, n).scaled(100)
    return [
        *rates,
        Score("net", 100 * (wins - losses) / n, n, missing, low, high),
        Score(
            "sign_test",
            sign_test(wins, losses),
            wins + losses,
            missing,
            detail={"ties": counts["tie"]},
        ),
    ]


def ratio_score(
    key: str, ratios: Sequence[tuple[int, int]], missing: int, *, of: str, reason: str
) -> Score:
    """Return Σ hits / Σ counts of items' (hits, count), a share; an item is one cluster.

    Detail: Σ counts, named `of`. Without items there is no value, for `reason`.
    """
    if not ratios:
        return Score(key, None, 0, missing, reason=reason)
    hits, counts = zip(*ratios, strict=True)
    low, high = ratio_interval(hits, counts) or (None, None)
    total = sum(counts)
    return Score(key, sum(hits) / total, len(ratios), missing, low, high, detail={of: total})


def _agreement(items: Sequence[ItemVotes]) -> Score:
    """Return the share of pairs of votes that agree; an item's pairs are one cluster."""
    pairs = [list(combinations(item.choices, 2)) for item in items if len(item.votes) > 1]
    same = [(sum(one == other for one, other in found), len(found)) for found in pairs]
    missing = len(items) - len(pairs)
    return ratio_score("people/agreement", same, missing, of="pairs", reason=NO_PAIRS)


def _unanimous(complete: Sequence[ItemVotes], missing: int) -> Score:
    several = [item for item in complete if item.wanted > 1]
    alike = sum(len(set(item.choices)) == 1 for item in several)
    reason = NO_PAIRS if complete else _NOTHING
    return share_score("people/unanimous", alike, len(several), missing, scale=1.0, reason=reason)


def _left_wins(items: Sequence[ItemVotes]) -> Score:
    sided = [
        [vote.choice == vote.left for vote in item.votes if vote.choice != "tie"] for item in items
    ]
    left = [(sum(found), len(found)) for found in sided if found]
    missing, reason = sum(not item.votes for item in items), "nobody voted for a side"
    return ratio_score("people/left_wins", left, missing, of="votes", reason=reason)


def verdicts_by_item(orders: Sequence[Verdict], *, a: str) -> dict[str, Verdict]:
    """Return the verdict on each prompt, both orders joined, seen from the side of model `a`."""
    joined = combine_all({verdict.key: verdict for verdict in orders})
    return {v.prompt_key: v if v.a == a else v.swapped() for v in joined}


def judge_scores(items: Sequence[ItemVotes], verdicts: Mapping[str, Verdict]) -> list[Score]:
    """Return the agreement of the run's head-to-head judge with annotators, as shares in [0, 1].

    No request is made: the verdicts are those of the head-to-head benchmark, on items that both
    judged and whose answers are still those that annotators saw.

    judge/agreement: with the majority (A, tie or B). Detail: `chance`, the agreement of two
        independent raters with these marginals, `kappa` = (agreement − chance)/(1 − chance),
        None if chance is 1, and counts "people/judge" such as "A/tie".
    judge/agreement_untied: the same over items where neither is a tie.
    judge/vote_agreement: with single votes; compare with people/agreement, the agreement between
        two annotators; an item is one cluster.

    `missing` counts items with a majority that have no readable verdict on these answers.
    """
    judged = {key: verdict.winner for key, verdict in verdicts.items() if verdict.winner}
    decided = [(item, found.choice) for item in items if (found := item.majority) is not None]
    both = [(item, people, judged[item.item]) for item, people in decided if item.item in judged]
    missing = len(decided) - len(both)
    choices = [(people, judge) for _, people, judge in both]
    votes = [(item.choices.count(judge), len(item.votes)) for item, _, judge in both]
    return [
        _majority_agreement(AGREEMENT, choices, missing),
        _majority_agreement(UNTIED, [pair for pair in choices if "tie" not in pair], missing),
        ratio_score(VOTES, votes, missing, of="votes", reason=_NOT_JUDGED),
    ]


def no_judge_scores(reason: str) -> list[Score]:
    """Return the scores of `judge_scores` without values, with the reason."""
    return [Score(key, None, 0, reason=reason) for key in (AGREEMENT, UNTIED, VOTES)]


def _majority_agreement(
    key: str, choices: Sequence[tuple[VoteChoice, VoteChoice]], missing: int
) -> Score:
    n = len(choices)
    if not n:
        return Score(key, None, 0, missing, reason=_NOT_JUDGED)
    same = sum(people == judge for people, judge in choices)
    people, judge = (Counter(side) for side in zip(*choices, strict=True))
    chance = sum(people[choice] * judge[choice] for choice in CHOICES) / n**2
    kappa = (same / n - chance) / (1 - chance) if chance < 1 else None
    counts = Counter(map("/".join, choices))
    detail = {"chance": chance, "kappa": kappa, **dict(sorted(counts.items()))}
    return share_score(key, same, n, missing, scale=1.0, detail=detail)
