"""Statistics of a comparison's votes: majorities, win/tie/lose, inter-annotator agreement.

The majority of an item is the choice of more than half of the annotators. Without one (one
for A, one for B, one tie; or two against two) the item is a tie, counted separately. An item counts
once every annotator has voted on it: before that its majority could still change.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple, get_args

from core.intervals import bootstrap_mean, bootstrap_ratio, share_score
from core.paired import sign_test
from core.records import Score
from evaluation.human.krippendorff import NO_PAIRS, Alpha, krippendorff_alpha
from evaluation.human.votes import VoteChoice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evaluation.human.votes import Vote

CHOICES: tuple[VoteChoice, ...] = get_args(VoteChoice)
_IN_ORDER = ("A", "tie", "B")  # for ordinal agreement a tie lies between the two
POINTS = {"A": 100.0, "tie": 0.0, "B": -100.0}
_RATES: tuple[tuple[str, VoteChoice], ...] = (("win", "A"), ("tie", "tie"), ("lose", "B"))
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


def scores(items: Sequence[ItemVotes], *, seed: int) -> list[Score]:
    """Return win, tie and lose of A by majority, and inter-annotator agreement.

    win, tie, lose: % of the items that all have voted on, with Wilson's interval. Detail of tie:
        `voted` (a majority for "tie"), `no_majority`, and of these `three_way` (A, B and tie were
        all chosen).
    net: win minus lose; its interval resamples items.
    sign_test: two-sided p of wins against losses, ties dropped.
    people/alpha, people/alpha_ordinal: Krippendorff's alpha over items with two or more votes; in
        the ordinal one a tie lies between A and B. None where it is undefined, with the reason.
    people/agreement: share of pairs of votes on one item that are the same, in [0, 1].
    people/unanimous: share of the items that all have voted on on which they agree.
    people/left_wins: share of the votes for a side that are for the left one; 0.5 without position
        bias. Its interval, like that of people/agreement, resamples items.

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
    nominal = krippendorff_alpha(units, _IN_ORDER, level="nominal", seed=seed)
    ordinal = krippendorff_alpha(units, _IN_ORDER, level="ordinal", seed=seed)
    return [
        *_rates([found.choice for _, found in complete], missing, ties, seed),
        alpha_score("people/alpha", nominal, len(items)),
        alpha_score("people/alpha_ordinal", ordinal, len(items)),
        _agreement(items, seed),
        _unanimous([item for item, _ in complete], missing),
        _left_wins(items, seed),
    ]


def _rates(
    majorities: Sequence[VoteChoice], missing: int, ties: dict[str, int], seed: int
) -> list[Score]:
    n, counts = len(majorities), Counter(majorities)
    rates = [
        share_score(key, counts[choice], n, missing, reason=_NOTHING) for key, choice in _RATES
    ]
    if not n:
        return rates + [Score(k, None, 0, missing, reason=_NOTHING) for k in ("net", "sign_test")]
    rates[1] = replace(rates[1], detail=ties)
    points = [POINTS[choice] for choice in majorities]
    low, high = bootstrap_mean(points, seed=seed) or (None, None)
    p = sign_test(counts["A"], counts["B"])
    decided = counts["A"] + counts["B"]
    return [
        *rates,
        Score("net", sum(points) / n, n, missing, low, high),
        Score("sign_test", p, decided, missing, detail={"ties": counts["tie"]}),
    ]


def alpha_score(key: str, found: Alpha, units: int) -> Score:
    """Return alpha as a score; units without two values are missing."""
    low, high = found.interval or (None, None)
    missing, detail = units - found.units, {"values": found.values}
    return Score(
        key, found.value, found.units, missing, low, high, reason=found.reason, detail=detail
    )


def ratio_score(
    key: str, ratios: Sequence[tuple[int, int]], missing: int, *, seed: int, of: str, reason: str
) -> Score:
    """Return Σ hits / Σ counts of items' (hits, count), a share; its interval resamples items.

    Detail: Σ counts, named `of`. Without items there is no value, for `reason`.
    """
    if not ratios:
        return Score(key, None, 0, missing, reason=reason)
    hits, counts = zip(*ratios, strict=True)
    low, high = bootstrap_ratio(hits, counts, seed=seed) or (None, None)
    total = sum(counts)
    return Score(key, sum(hits) / total, len(ratios), missing, low, high, detail={of: total})


def _agreement(items: Sequence[ItemVotes], seed: int) -> Score:
    """Return the share of pairs of votes that agree; an item's pairs are resampled together."""
    pairs = [list(combinations(item.choices, 2)) for item in items if len(item.votes) > 1]
    same = [(sum(one == other for one, other in found), len(found)) for found in pairs]
    missing = len(items) - len(pairs)
    return ratio_score("people/agreement", same, missing, seed=seed, of="pairs", reason=NO_PAIRS)


def _unanimous(complete: Sequence[ItemVotes], missing: int) -> Score:
    several = [item for item in complete if item.wanted > 1]
    alike = sum(len(set(item.choices)) == 1 for item in several)
    reason = NO_PAIRS if complete else _NOTHING
    return share_score("people/unanimous", alike, len(several), missing, scale=1.0, reason=reason)


def _left_wins(items: Sequence[ItemVotes], seed: int) -> Score:
    sided = [
        [vote.choice == vote.left for vote in item.votes if vote.choice != "tie"] for item in items
    ]
    left = [(sum(found), len(found)) for found in sided if found]
    missing, reason = sum(not item.votes for item in items), "nobody voted for a side"
    return ratio_score("people/left_wins", left, missing, seed=seed, of="votes", reason=reason)
