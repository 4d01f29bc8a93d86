"""Win rates against the baseline: as judged, and at equal style.

Every question is one cluster: its two games share question, answers and judge, and a verdict of
"much better" is one verdict with weight 3. (Upstream's show_result.py writes it three times and
draws rows, not questions, and prints 5 to 95 %; docs/decisions/049-arena-hard-intervals.md.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import expit

from core.intervals import ratio_interval
from core.records import Score
from evaluation.arena_hard.style import FEATURES, difference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from evaluation.arena_hard.battles import Battle
    from evaluation.arena_hard.style import Style

    Floats = NDArray[np.float64]

RAW, CONTROLLED = "win_rate", "style_controlled_win_rate"
LEAST_QUESTIONS = 50
"""Fewer cannot tell the effects of four style features from the model's."""
_ROUNDS = 200
_PERCENTILES = (2.5, 97.5)
_DEFINED = 0.9  # share of the rounds that must have a fit
_SEPARATED = 20.0  # a coefficient beyond odds of e^20: there is no finite fit
_RIDGE, _CLOSE, _MOST_STEPS = 1e-9, 1e-9, 100


def win_rate(battles: Sequence[Battle]) -> Score:
    """Return one model's weighted win rate in percent, ties half, over the questions read."""
    read = [battle for battle in battles if battle.won is not None]
    missing = len(battles) - len(read)
    won, weight = [battle.won or 0.0 for battle in read], [battle.weight for battle in read]
    if not read:
        return Score(RAW, None, 0, missing, reason="no question with two readable verdicts")
    interval = ratio_interval(won, weight)
    low, high = interval.scaled(100) if interval else (None, None)
    return Score(RAW, 100 * sum(won) / sum(weight), len(read), missing, low, high)


class Styles(NamedTuple):
    """The styles of all models' answers, by model and question; `baseline` names one of them."""

    answers: Mapping[str, Mapping[str, Style]]
    baseline: str


def controlled_rates(
    battles: Sequence[Battle], styles: Styles, *, seed: int = 0
) -> dict[str, Score]:
    """Return each model's win rate at the baseline's style: what the fit says at difference 0.

    One logistic fit of all models' battles of a category: a strength for each model, and one
    coefficient for each of `FEATURES`. Questions are resampled, all their battles together. The
    value is None, with the reason, with too few questions, without the answers, or where style
    alone separates wins from losses.
    """
    baseline = styles.answers.get(styles.baseline, {})
    used = [
        battle
        for battle in battles
        if battle.won is not None
        and battle.question in baseline
        and battle.question in styles.answers.get(battle.model, {})
    ]
    models = sorted({battle.model for battle in battles})
    counts = {model: sum(battle.model == model for battle in used) for model in models}
    total = {model: sum(battle.model == model for battle in battles) for model in models}
    questions = sorted({battle.question for battle in used})

    def missing(model: str, reason: str) -> Score:
        return Score(CONTROLLED, None, counts[model], total[model] - counts[model], reason=reason)

    if len(questions) < LEAST_QUESTIONS:
        reason = (
            f"{len(questions)} questions with verdicts and both answers; {LEAST_QUESTIONS} needed"
        )
        return {model: missing(model, reason) for model in models}
    table = _table(used, models, questions, styles)
    fit = _fit(table, np.ones(len(questions)))
    if fit is None:
        reason = "style alone separates wins from losses: no finite fit"
        return {model: missing(model, reason) for model in models}
    ends = _bootstrap(table, len(questions), seed)
    effects = {
        f"effect_{name}": float(effect)
        for name, effect in zip(FEATURES, fit[len(models) :], strict=True)
    }
    found = {}
    for at, model in enumerate(models):
        value, n = 100 * float(expit(fit[at])), counts[model]
        low, high = (None, None) if ends is None else (float(end[at]) for end in ends)
        left_out = total[model] - n
        found[model] = Score(CONTROLLED, value, n, left_out, low, high, detail=effects)
    return found


class _Table(NamedTuple):
    """One row per battle: features (models, then styles), share won, weight, question's place."""

    features: Floats
    share: Floats
    weight: Floats
    question: NDArray[np.int64]
    models: int


def _table(
    used: Sequence[Battle], models: Sequence[str], questions: Sequence[str], styles: Styles
) -> _Table:
    answers, baseline = styles.answers, styles.answers[styles.baseline]
    rows = np.array([difference(answers[b.model][b.question], baseline[b.question]) for b in used])
    spread = rows.std(axis=0)
    rows = rows / np.where(spread > 0, spread, 1.0)
    model_of = np.array([[float(b.model == model) for model in models] for b in used])
    place = {question: at for at, question in enumerate(questions)}
    weight = np.array([b.weight for b in used])
    return _Table(
        np.hstack([model_of, rows]),
        np.array([b.won or 0.0 for b in used]) / weight,
        weight,
        np.array([place[b.question] for b in used]),
        len(models),
    )


def _fit(table: _Table, times: Floats) -> Floats | None:
    """Return the coefficients of the weighted logistic fit; None if there is no finite one.

    `times`: how often each question counts.
    """
    weight = table.weight * times[table.question]
    found = np.zeros(table.features.shape[1])
    for _ in range(_MOST_STEPS):
        chance = expit(table.features @ found)
        slope = table.features.T @ (weight * (table.share - chance)) - _RIDGE * found
        curve = (table.features.T * (weight * chance * (1 - chance))) @ table.features
        step = np.linalg.lstsq(curve + _RIDGE * np.eye(len(found)), slope, rcond=None)[0]
        step *= min(1.0, 4.0 / max(float(np.abs(step).max()), 1e-300))
        found = found + step
        if float(np.abs(found).max()) > _SEPARATED:
            return None
        if float(np.abs(step).max()) < _CLOSE:
            return found
    return None


def _bootstrap(table: _Table, questions: int, seed: int) -> tuple[Floats, Floats] | None:
    """Return both ends of each model's interval in percent; None if too few rounds have a fit."""
    random = np.random.default_rng(seed)
    fits = []
    for _ in range(_ROUNDS):
        times = np.bincount(random.integers(0, questions, questions), minlength=questions)
        fit = _fit(table, times.astype(float))
        if fit is not None:
            fits.append(100 * expit(fit[: table.models]))
    if len(fits) < _DEFINED * _ROUNDS:
        return None
    low, high = np.percentile(np.stack(fits), _PERCENTILES, axis=0)
    return low, high
