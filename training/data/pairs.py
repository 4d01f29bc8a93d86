"""Preference pairs, in a ledger with one outcome per prompt (paper, section 2.3)."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from core.records import ANSWERED, LedgerRow
from core.reductions import MeanScore, mean_scores
from core.store import Built
from training.data import temporal
from training.data.consistency import confidences
from training.data.implicit_rewards import rewards
from training.data.temporal import Others

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from core.config import Config, PairsSection
    from core.records import AnswerLogProb, Candidate, Judgment, OrderAgreement, Prompt
    from core.store import Partial
    from training.data.temporal import Answers

_NO_SCORE = MeanScore(None, 0, 0)
_ROUNDING = 1e-9  # of mean scores: 7/3 - 4/3 is slightly above 1


class ScoredCandidate(NamedTuple):
    """A candidate with its mean score; `by`: the model that answered, where others do, too."""

    candidate: Candidate
    score: float
    by: str = ""


class Pair(NamedTuple):
    """The pair selected from one prompt's candidates."""

    chosen: ScoredCandidate
    rejected: ScoredCandidate


def select_pairs(
    prompts: Iterable[Prompt],
    candidates: Iterable[Candidate],
    judgments: Iterable[Judgment],
    config: Config,
    out: Partial,
    *,
    agreements: Sequence[OrderAgreement] = (),
    log_probs: Sequence[AnswerLogProb] = (),
    others: Others = Others(),  # noqa: B008 - immutable
) -> Built:
    """Write one ledger row per prompt; the outcomes' counts add up to the number of prompts.

    `agreements` of two judges are the confidences of the pairs (`pairs.consistency`); `log_probs`
    of the candidates leave out pairs that they order otherwise (`pairs.filter`); `others` are other
    models' answers that may be chosen or rejected.
    """
    chances = confidences(agreements, config.pairs.consistency) if agreements else {}
    learned = None if config.pairs.filter == "none" else rewards(log_probs)
    means = mean_scores(judgments)
    past, future = (_by_prompt(answers) for answers in (others.past, others.future))
    by_prompt = defaultdict(list)
    for candidate in candidates:
        by_prompt[candidate.prompt_key].append(candidate)
    if config.pairs.control == "shuffled":
        means = shuffled(means, by_prompt, seed=config.seed)
    for prompt in prompts:
        if prompt.key not in out.rows:
            beside = _Beside(others.own, past[prompt.key], future[prompt.key])
            row = ledger_row(
                prompt, by_prompt[prompt.key], means, config.pairs, learned, beside=beside
            )
            sure = chances.get(prompt.key) if row.outcome == "pair" else None
            out.add(replace(row, confidence=sure))
    return Built(counts=dict(Counter(row.outcome for row in out.rows.values())))


class _Beside(NamedTuple):
    """The scored answers of other models to one prompt, and the name of M_{k-1} beside them."""

    own: str = ""
    past: Sequence[ScoredCandidate] = ()
    future: Sequence[ScoredCandidate] = ()


def _by_prompt(answers: Answers | None) -> dict[str, list[ScoredCandidate]]:
    """Return a model's scored answers by prompt, in the order of the draws."""
    found: dict[str, list[ScoredCandidate]] = defaultdict(list)
    if answers is not None:
        means = mean_scores(answers.judgments)
        for candidate in sorted(answers.candidates, key=lambda c: (c.prompt_key, c.draw)):
            score = means.get(candidate.key, _NO_SCORE).mean
            if score is not None:
                found[candidate.prompt_key].append(ScoredCandidate(candidate, score, answers.by))
    return found


def shuffled(
    means: Mapping[str, MeanScore], by_prompt: Mapping[str, Sequence[Candidate]], *, seed: int
) -> dict[str, MeanScore]:
    """Return the scores of each prompt's answers dealt out among them at random (a control)."""
    dealt: dict[str, MeanScore] = {}
    for prompt_key, candidates in by_prompt.items():
        keys = [candidate.key for candidate in candidates if candidate.key in means]
        found = [means[key] for key in keys]
        random.Random(f"control/{seed}/{prompt_key}").shuffle(found)
        dealt |= dict(zip(keys, found, strict=True))
    return dealt


def ledger_row(
    prompt: Prompt,
    candidates: Sequence[Candidate],
    means: dict[str, MeanScore],
    section: PairsSection,
    learned: Mapping[str, float] | None = None,
    *,
    beside: _Beside = _Beside(),  # noqa: B008 - immutable
) -> LedgerRow:
    """Return the ledger row of one prompt; `learned`: implicit rewards that must agree, by answer.

    Outcomes: "pair"; "no_candidates" (no answer: too long a prompt or thought); "unscored" and
    "one_scored" (fewer than two candidates have a score); "identical_answers" (best and worst are
    the same text); "tie" (all scores equal, or within `section.min_margin`); "reward_disagrees"
    (the implicit reward of the chosen answer is not the higher one). As a control the two are
    exchanged (`section.control`).
    """
    ordered = sorted(candidates, key=lambda c: c.draw)
    found = [means.get(c.key, _NO_SCORE) for c in ordered]
    scores, parsed = tuple(m.mean for m in found), tuple(m.parsed for m in found)
    scored = [
        ScoredCandidate(c, s, beside.own)
        for c, s in zip(ordered, scores, strict=True)
        if s is not None
    ]
    outcome = _scored_outcome(ordered, scored)
    row = LedgerRow(prompt.key, prompt.text, outcome, scores, parsed, before=prompt.before)
    if outcome != "pair" and not (outcome == "one_scored" and beside.past):
        return row
    pair = temporal.across(choose(scored, section), beside.past, beside.future)
    outcome = _outcome(pair, section, learned)
    if outcome != "pair":
        return replace(row, outcome="one_scored" if len(scored) == 1 else outcome)
    if section.control == "swapped":
        pair = Pair(chosen=pair.rejected, rejected=pair.chosen)
    (chosen, chosen_score, _), (rejected, rejected_score, _) = pair
    return replace(
        row,
        outcome="pair",
        chosen_key=chosen.key,
        rejected_key=rejected.key,
        chosen=chosen.text,
        rejected=rejected.text,
        chosen_score=chosen_score,
        rejected_score=rejected_score,
        chosen_ended=chosen.finish == "stop",
        rejected_ended=rejected.finish == "stop",
        chosen_by=pair.chosen.by,
        rejected_by=pair.rejected.by,
    )


def _scored_outcome(candidates: Sequence[Candidate], scored: Sequence[ScoredCandidate]) -> str:
    if all(c.finish not in ANSWERED for c in candidates):
        return "no_candidates"
    if not scored:
        return "unscored"
    return "one_scored" if len(scored) == 1 else "pair"


def _outcome(pair: Pair, section: PairsSection, learned: Mapping[str, float] | None) -> str:
    chosen, rejected = pair
    if chosen.score - rejected.score <= section.min_margin + _ROUNDING:
        return "tie"
    if chosen.candidate.text.strip() == rejected.candidate.text.strip():
        return "identical_answers"
    if learned is not None and learned[chosen.candidate.key] <= learned[rejected.candidate.key]:
        return "reward_disagrees"
    return "pair"


def choose(scored: Sequence[ScoredCandidate], section: PairsSection) -> Pair:
    """Select the pair from two or more scored candidates; of equals, the earliest draw.

    "best_worst": the highest against the lowest score. "length_controlled" (Meta-Rewarding, Wu et
    al. 2024, section 2.2): the shortest answer scoring at least (1-rho)·max + rho·min, against the
    longest answer scoring at most (1-rho)·min + rho·max.
    """
    high = max(item.score for item in scored)
    low = min(item.score for item in scored)
    if section.choice == "best_worst":
        best = next(item for item in scored if item.score == high)
        worst = next(item for item in scored if item.score == low)
        return Pair(best, worst)
    rho = section.rho
    top = [item for item in scored if item.score >= (1 - rho) * high + rho * low - _ROUNDING]
    bottom = [item for item in scored if item.score <= (1 - rho) * low + rho * high + _ROUNDING]
    return Pair(
        min(top, key=lambda item: len(item.candidate.text)),
        max(bottom, key=lambda item: len(item.candidate.text)),
    )
