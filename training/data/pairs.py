"""Preference pairs, and a ledger that says for every prompt what became of it (section 2.3)."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

from core.records import LedgerRow
from core.reductions import MeanScore, mean_scores
from core.store import Built

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from core.config import PairsSection
    from core.records import Candidate, Judgment, Prompt
    from core.store import Partial

_NO_SCORE = MeanScore(None, 0, 0)
_ROUNDING = 1e-9  # means of draws carry it: 7/3 - 4/3 comes out above 1


class Scored(NamedTuple):
    """A candidate with its mean score."""

    candidate: Candidate
    score: float


class Choice(NamedTuple):
    """The pair chosen from one prompt's candidates."""

    chosen: Scored
    rejected: Scored


def select_pairs(
    prompts: Iterable[Prompt],
    candidates: Iterable[Candidate],
    judgments: Iterable[Judgment],
    section: PairsSection,
    out: Partial,
) -> Built:
    """Write one ledger row per prompt; the outcomes' counts add up to the number of prompts."""
    means = mean_scores(judgments)
    by_prompt = defaultdict(list)
    for candidate in candidates:
        by_prompt[candidate.prompt_key].append(candidate)
    for prompt in prompts:
        if prompt.key not in out.rows:
            out.add(ledger_row(prompt, by_prompt[prompt.key], means, section))
    return Built(counts=dict(Counter(row.outcome for row in out.rows.values())))


def ledger_row(
    prompt: Prompt,
    candidates: Sequence[Candidate],
    means: dict[str, MeanScore],
    section: PairsSection,
) -> LedgerRow:
    """Return what one prompt gives.

    Outcomes: "pair"; "no_candidates" (the prompt was too long to answer); "unscored" and
    "one_scored" (fewer than two candidates have a score); "identical_answers" (best and worst say
    the same); "tie" (all scores equal, or within `section.min_margin`).
    """
    ordered = sorted(candidates, key=lambda c: c.draw)
    found = [means.get(c.key, _NO_SCORE) for c in ordered]
    scored = [Scored(c, m.mean) for c, m in zip(ordered, found, strict=True) if m.mean is not None]
    row = LedgerRow(
        prompt.key,
        prompt.text,
        _why_not(ordered, scored),
        tuple(m.mean for m in found),
        tuple(m.parsed for m in found),
    )
    if row.outcome != "pair":
        return row
    choice = choose(scored, section)
    outcome = _outcome(choice, section)
    if outcome != "pair":
        return LedgerRow(row.key, row.prompt, outcome, row.scores, row.draws_parsed)
    chosen, rejected = choice
    return LedgerRow(
        row.key,
        row.prompt,
        "pair",
        row.scores,
        row.draws_parsed,
        chosen.candidate.key,
        rejected.candidate.key,
        chosen.candidate.text,
        rejected.candidate.text,
        chosen.score,
        rejected.score,
        chosen.candidate.finish == "stop",
        rejected.candidate.finish == "stop",
    )


def _why_not(candidates: Sequence[Candidate], scored: Sequence[Scored]) -> str:
    if all(c.finish == "too_long" for c in candidates):
        return "no_candidates"
    if not scored:
        return "unscored"
    return "one_scored" if len(scored) == 1 else "pair"


def _outcome(choice: Choice, section: PairsSection) -> str:
    chosen, rejected = choice
    if chosen.score - rejected.score <= section.min_margin + _ROUNDING:
        return "tie"
    if chosen.candidate.text.strip() == rejected.candidate.text.strip():
        return "identical_answers"
    return "pair"


def choose(scored: Sequence[Scored], section: PairsSection) -> Choice:
    """Choose the pair from two or more scored candidates; of equals, the earliest draw.

    "best_worst": the highest against the lowest score. "length_controlled" (Meta-Rewarding, Wu et
    al. 2024, section 2.2): the shortest answer scoring at least (1-rho)·max + rho·min, against the
    longest answer scoring at most (1-rho)·min + rho·max.
    """
    high = max(item.score for item in scored)
    low = min(item.score for item in scored)
    if section.choice == "best_worst":
        best = next(item for item in scored if item.score == high)
        worst = next(item for item in scored if item.score == low)
        return Choice(best, worst)
    rho = section.rho
    top = [item for item in scored if item.score >= (1 - rho) * high + rho * low - _ROUNDING]
    bottom = [item for item in scored if item.score <= (1 - rho) * low + rho * high + _ROUNDING]
    return Choice(
        min(top, key=lambda item: len(item.candidate.text)),
        max(bottom, key=lambda item: len(item.candidate.text)),
    )
