"""Agreement of a judge's scores with human rankings: the metrics of Table 4.

The paper does not say how a tie between two scores counts; M3's numbers do. Counted as half or as
wrong, a pairwise accuracy of .817 forces a tau of at least .634, and .324 is published: accuracy
excludes ties. An exact match of .143 is then possible only if a tie breaks the order: dropping the
instructions with ties leaves at least .451, as an order of three that is not exact has at most two
of its three pairs right. All three variants of both are reported.

Nor does it say how correlations are pooled. The default is the mean over instructions, one whose
replies all got the same score counting 0: excluding it would give about .634 for M3 (an instruction
of two untied replies has tau ±1), and pooled over all replies Spearman's rho lies further above tau
(12 to 20 % in simulations on OASST2's rankings) than in the paper (5 to 10 %). Both other variants
are reported.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from core.correlations import kendall_tau, spearman
from core.intervals import Interval, correlation_interval, mean_interval, ratio_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PERFECT = 5.0  # the rubric's highest score


class ScoredReplies(NamedTuple):
    """One instruction's replies: human rank (lower is better) and score, None for none."""

    prompt_key: str
    replies: tuple[tuple[float, float | None], ...]

    @property
    def comparable(self) -> bool:
        """Whether at least two of the replies have different human ranks."""
        return len({rank for rank, _ in self.replies}) > 1

    def with_scores(self, scores: Sequence[float | None]) -> ScoredReplies:
        """Return the same replies with other scores."""
        pairs = zip(self.replies, scores, strict=True)
        return ScoredReplies(self.prompt_key, tuple((rank, score) for (rank, _), score in pairs))


class Metric(NamedTuple):
    """A value (None where undefined), its number of items, its 95 % interval over instructions."""

    value: float | None
    n: int
    interval: Interval | None = None


class _Order(NamedTuple):
    """One instruction's replies, ordered by score against human rank.

    Pairs of differently ranked, scored replies: `right`, `wrong`, `tied`. `exact` is the
    probability of the human order when ties are broken at random, None if a reply has no score.
    `perfect` replies with the highest score, of which `best` ranked first.
    """

    right: int
    wrong: int
    tied: int
    exact: float | None
    perfect: int
    best: int
    tau: float | None
    rho: float | None

    @property
    def pairs(self) -> int:
        return self.right + self.wrong + self.tied


def measure(
    prompts: Sequence[ScoredReplies], *, perfect: float = PERFECT, intervals: bool = True
) -> dict[str, Metric]:
    """Return every metric in every variant; instructions without a human order are left out.

    `intervals`: False leaves out those of pooled correlations, which take long.

    pairwise_accuracy/{ties_excluded, ties_half, ties_wrong}: % of pairs of differently ranked
        replies in the human order; 50 is chance for the first two.
    exact_match/...: % of instructions in the human order. Wrong: a tie between differently ranked
        replies is not that order; half: the expected share with ties broken at random; excluded:
        instructions with such a tie are dropped. Those with an unscored reply do not count.
    five_best: % of the replies with the perfect score that humans ranked first of theirs.
    spearman, kendall_tau/{per_prompt, per_prompt_ties_excluded, pooled}: in [−1, 1], 0 is chance;
        see the module's docstring.
    tie_rate: share of pairs with equal scores. scored_rate: share of replies that have a score.
    """
    kept = [prompt for prompt in prompts if prompt.comparable]
    orders = [_order(prompt, perfect) for prompt in kept]
    pairs = [o.pairs for o in orders]
    untied = [o.right + o.wrong for o in orders]
    right, tied = [o.right for o in orders], [o.tied for o in orders]
    half = [r + t / 2 for r, t in zip(right, tied, strict=True)]
    whole = [(o.exact, o.tied) for o in orders if o.exact is not None]
    strict = [exact for exact, ties in whole if not ties]
    return {
        "pairwise_accuracy/ties_excluded": _share(right, untied, 100),
        "pairwise_accuracy/ties_half": _share(half, pairs, 100),
        "pairwise_accuracy/ties_wrong": _share(right, pairs, 100),
        "exact_match/ties_excluded": _share(strict, scale=100),
        "exact_match/ties_half": _share([e for e, _ in whole], scale=100),
        "exact_match/ties_wrong": _share([0.0 if ties else e for e, ties in whole], scale=100),
        "five_best": _share([o.best for o in orders], [o.perfect for o in orders], 100),
        **_correlations("spearman", kept, [o.rho for o in orders], spearman, intervals=intervals),
        **_correlations(
            "kendall_tau", kept, [o.tau for o in orders], kendall_tau, intervals=intervals
        ),
        "tie_rate": _share(tied, pairs),
        "scored_rate": _share(
            [sum(score is not None for _, score in p.replies) for p in kept],
            [len(p.replies) for p in kept],
        ),
    }


def _share(
    above: Sequence[float], below: Sequence[float] | None = None, scale: float = 1
) -> Metric:
    """Return Σ above / Σ below, or the mean of `above`, with its interval."""
    below = [1.0] * len(above) if below is None else below
    total, interval = math.fsum(below), ratio_interval(above, below)
    if interval is None:
        return Metric(None, 0)
    return Metric(scale * math.fsum(above) / total, round(total), interval.scaled(scale))


def _mean(values: Sequence[float]) -> Metric:
    """Return the mean of correlations with its interval."""
    if not values:
        return Metric(None, 0)
    interval = mean_interval(values, scale=(-1.0, 1.0))
    return Metric(math.fsum(values) / len(values), len(values), interval)


def _correlations(
    name: str,
    prompts: Sequence[ScoredReplies],
    each: Sequence[float | None],
    correlate: Callable[[Sequence[float], Sequence[float]], float | None],
    *,
    intervals: bool,
) -> dict[str, Metric]:
    rows = [_goodness_and_scores(prompt) for prompt in prompts]
    # Undefined with fewer than two differently ranked, scored replies.
    found = [v for v, (good, _) in zip(each, rows, strict=True) if len(set(good)) > 1]

    def pooled(drawn: Sequence[tuple[list[float], list[float]]]) -> float | None:
        return correlate([g for gs, _ in drawn for g in gs], [s for _, ss in drawn for s in ss])

    value = pooled(rows)
    interval = correlation_interval(rows, pooled) if intervals and value is not None else None
    n = sum(len(goodness) for goodness, _ in rows) if value is not None else 0
    return {
        f"{name}/per_prompt": _mean([0.0 if v is None else v for v in found]),
        f"{name}/per_prompt_ties_excluded": _mean([v for v in found if v is not None]),
        f"{name}/pooled": Metric(value, n, interval),
    }


def _goodness_and_scores(prompt: ScoredReplies) -> tuple[list[float], list[float]]:
    """Return the scored replies' human goodness (−rank) and their scores."""
    rows = [(-rank, score) for rank, score in prompt.replies if score is not None]
    return [goodness for goodness, _ in rows], [score for _, score in rows]


def _order(prompt: ScoredReplies, perfect: float) -> _Order:
    goodness, found = _goodness_and_scores(prompt)
    right = wrong = tied = 0
    for i in range(len(found)):
        for j in range(i):
            by_humans, by_judge = goodness[i] - goodness[j], found[i] - found[j]
            if by_humans:
                right += by_humans * by_judge > 0
                wrong += by_humans * by_judge < 0
                tied += by_judge == 0
    first = max(-rank for rank, _ in prompt.replies)
    fives = [g for g, score in zip(goodness, found, strict=True) if score == perfect]
    exact = _chance_of_exact(goodness, found, wrong) if len(found) == len(prompt.replies) else None
    tau, rho = kendall_tau(goodness, found), spearman(goodness, found)
    return _Order(right, wrong, tied, exact, len(fives), fives.count(first), tau, rho)


def _chance_of_exact(goodness: Sequence[float], found: Sequence[float], wrong: int) -> float:
    """Return the probability of the human order when equal scores are ordered at random.

    m replies with one score have m! orders; those that keep the human order permute replies of
    equal rank.
    """
    if wrong:
        return 0.0
    groups: dict[float, Counter[float]] = {}
    for good, score in zip(goodness, found, strict=True):
        groups.setdefault(score, Counter())[good] += 1
    chances = (
        math.prod(map(math.factorial, group.values())) / math.factorial(group.total())
        for group in groups.values()
    )
    return math.prod(chances)
