"""Agreement of the self-judge with an external judge on the same answers.

A model that trains on its own judgments may drift to answers that only it prefers. Its mean score
then rises above the external judge's, and its training pairs are no longer confirmed.
"""

from __future__ import annotations

import random
from collections import defaultdict
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

from core.correlations import spearman
from core.intervals import correlation_interval, mean_interval, ratio_interval, share_score
from core.paired import compare
from core.records import ANSWERED, Judgment, Score
from core.reductions import draws_of, judge_noise, mean_scores
from judges.pointwise import JudgedAnswer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.records import Candidate, LedgerRow, Prompt


_OTHER_SCALE = "the two judges' scores have different scales"


class ScoredByBoth(NamedTuple):
    """An answer that both judges scored: its prompt, and the means of their parsed draws."""

    prompt_key: str
    own: float
    external: float


def subjects(
    prompts: Sequence[Prompt], candidates: Sequence[Candidate], limit: int | None, *, seed: int
) -> list[JudgedAnswer]:
    """Return the answers to be judged again: those of a seeded sample of prompts.

    All answers of a prompt are taken, since order is compared within a prompt: as many prompts as
    have at most `limit` answers together, but at least one (None: all).
    """
    texts = {prompt.key: prompt.transcript for prompt in prompts}
    answers: dict[str, list[JudgedAnswer]] = {}
    for c in sorted(candidates, key=lambda c: c.key):
        if c.finish in ANSWERED:
            answers.setdefault(c.prompt_key, []).append(
                JudgedAnswer(c.key, c.prompt_key, texts[c.prompt_key], c.text)
            )
    keys = sorted(answers)
    random.Random(f"self_judge/{seed}").shuffle(keys)
    chosen: list[JudgedAnswer] = []
    for key in keys:
        if limit is not None and chosen and len(chosen) + len(answers[key]) > limit:
            break
        chosen += answers[key]
    return sorted(chosen)


def scores(
    own: Sequence[Judgment],
    external: Sequence[Judgment],
    ledger: Sequence[LedgerRow] = (),
    *,
    scale: tuple[float, float] | None,
    seed: int,
) -> list[Score]:
    """Compare the two judges on the answers that both scored; draws are averaged.

    mean_own, mean_external: mean scores, in the rubric's points.
    mean_difference: own minus external, the self-judge's inflation; 0 if it is as strict.
    spearman: correlation of the scores over answers, in [−1, 1].
    order_agreement: % of pairs of answers to one prompt that both put in the same order; ties of
        either judge are left out and counted; 50 is chance.
    pairs_confirmed: % of training pairs whose chosen answer the external judge scores higher; pairs
        it ties are left out and counted; 50 is chance.
    noise_own, noise_external: standard deviation between draws of one answer by one judge.

    Answers to one prompt are one cluster of the intervals. The detail of mean_difference has the
    two-sided `p_value` of a sign-flip test over `prompts`. Missing are answers (or pairs) the
    external judge was asked about that lack a score by either judge; other answers are not part of
    the sample. `scale`: the rubric's range; None: the own judge has another one (a reward model, a
    verifier), so that means cannot be compared. `seed`: of sampled sign flips.
    """
    own_means = {k: m.mean for k, m in mean_scores(own).items() if m.mean is not None}
    external_means = {k: m.mean for k, m in mean_scores(external).items()}
    prompt_of = {judgment.subject_key: judgment.prompt_key for judgment in external}
    both = [
        ScoredByBoth(prompt_of[key], own_means[key], mean)
        for key, mean in external_means.items()
        if mean is not None and key in own_means
    ]
    missing = len(external_means) - len(both)
    return [
        *_means(both, missing, scale, seed),
        _spearman(both, missing),
        _order_agreement(both, missing),
        _pairs_confirmed(ledger, external_means),
        judge_noise("noise_own", draws_of(j for j in own if j.subject_key in prompt_of).values()),
        judge_noise("noise_external", draws_of(external).values()),
    ]


def _means(
    both: Sequence[ScoredByBoth], missing: int, scale: tuple[float, float] | None, seed: int
) -> list[Score]:
    names = ("mean_own", "mean_external", "mean_difference")
    if not both or scale is None:
        reason = "no answer was scored by both judges" if not both else _OTHER_SCALE
        return [Score(name, None, 0, missing, reason=reason) for name in names]
    labels = {str(at): answer.prompt_key for at, answer in enumerate(both)}
    own = {key: answer.own for key, answer in zip(labels, both, strict=True)}
    external = {key: answer.external for key, answer in zip(labels, both, strict=True)}
    found = compare(own, external, clusters=labels, scale=scale, seed=seed)
    ends = [
        mean_interval([*each.values()], [*labels.values()], scale=scale) for each in (own, external)
    ]
    values = (found.mean_a, found.mean_b, found.difference)
    details = (None, None, {"p_value": found.p_value, "prompts": found.n_clusters})
    scores = []
    for name, value, interval, detail in zip(
        names, values, (*ends, found.interval), details, strict=True
    ):
        low, high = interval or (None, None)
        scores.append(Score(name, value, len(both), missing, low, high, detail=detail))
    return scores


def _spearman(both: Sequence[ScoredByBoth], missing: int) -> Score:
    def pooled(drawn: Sequence[list[ScoredByBoth]]) -> float | None:
        found = [answer for answers in drawn for answer in answers]
        return spearman([a.own for a in found], [a.external for a in found])

    prompts = _by_prompt(both)
    value = pooled(prompts)
    if value is None:
        reason = "fewer than two different scores by one of the judges"
        return Score("spearman", None, len(both), missing, reason=reason)
    low, high = correlation_interval(prompts, pooled) or (None, None)
    return Score("spearman", value, len(both), missing, low, high)


def _order_agreement(both: Sequence[ScoredByBoth], missing: int) -> Score:
    same, compared, tied = [], [], 0
    for answers in _by_prompt(both):
        products = [
            (one.own - other.own) * (one.external - other.external)
            for one, other in combinations(answers, 2)
        ]
        same.append(float(sum(product > 0 for product in products)))
        compared.append(float(sum(product != 0 for product in products)))
        tied += products.count(0.0)
    n, detail = int(sum(compared)), {"ties": tied}
    if not n:
        reason = "no two answers to one prompt are untied under both judges"
        return Score("order_agreement", None, 0, missing, reason=reason, detail=detail)
    interval = ratio_interval(same, compared)
    low, high = interval.scaled(100) if interval is not None else (None, None)
    return Score("order_agreement", 100 * sum(same) / n, n, missing, low, high, detail=detail)


def _by_prompt(both: Sequence[ScoredByBoth]) -> list[list[ScoredByBoth]]:
    groups = defaultdict(list)
    for answer in both:
        groups[answer.prompt_key].append(answer)
    return list(groups.values())


def _pairs_confirmed(ledger: Sequence[LedgerRow], external: dict[str, float | None]) -> Score:
    asked = [
        (external[row.chosen_key], external[row.rejected_key])
        for row in ledger
        if row.chosen_key in external and row.rejected_key in external
    ]
    scored = [(one, other) for one, other in asked if one is not None and other is not None]
    confirmed = sum(chosen > other for chosen, other in scored)
    turned = sum(chosen < other for chosen, other in scored)
    decided, missing = confirmed + turned, len(asked) - len(scored)
    detail = {"confirmed": confirmed, "reversed": turned, "ties": len(scored) - decided}
    reason = "the external judge put no training pair in an order"
    return share_score("pairs_confirmed", confirmed, decided, missing, reason=reason, detail=detail)
