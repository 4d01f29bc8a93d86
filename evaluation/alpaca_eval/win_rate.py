"""AlpacaEval's raw numbers: win rate, discrete win rate, answer lengths."""

from __future__ import annotations

import math
from collections import Counter
from statistics import NormalDist, stdev
from typing import TYPE_CHECKING

from core.records import DRAW, Score
from evaluation.alpaca_eval.length_control import preference_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.records import Annotation

_Z = NormalDist().inv_cdf(0.975)


def win_rate(annotations: Sequence[Annotation], *, key: str = "win_rate") -> Score:
    """Return 100·mean(preference − 1) over the annotations that have a preference.

    100 is always preferred, 50 chance, 0 never; a preference of 0 is a draw (1.5). Annotations
    without a preference are `missing`, by reason in the detail, and lower n. The standard error is
    the sample's over √n; the interval is the normal approximation from it, cut to [0, 100], and
    absent with fewer than two. Detail: wins (preference over 1.5), losses, draws.
    """
    return _mean_score(key, annotations, [preference_of(r) - 1 for r in _annotated(annotations)])


def discrete_win_rate(annotations: Sequence[Annotation]) -> Score:
    """Return the win rate with each preference rounded to a win, a draw (exactly 1.5) or a loss.

    Source: alpaca_eval/metrics/winrate.py: (wins + draws / 2) / n.
    """
    half = DRAW - 1
    wins = [preference_of(row) - 1 for row in _annotated(annotations)]
    rounded = [half if win == half else float(win > half) for win in wins]
    return _mean_score("discrete_win_rate", annotations, rounded)


def average_lengths(annotations: Sequence[Annotation]) -> list[Score]:
    """Return the mean characters of the model's answers (avg_length) and of the reference's.

    Over all annotations, also those the judge gave no preference for; None without any. Answers and
    references that are absent ("no_answer", "no_reference") are left out of their own mean.
    """
    model = [len(row.output_2) for row in annotations if row.missing != "no_answer"]
    reference = [len(row.output_1) for row in annotations if row.missing != "no_reference"]
    return [
        _length_score("avg_length", model, len(annotations)),
        _length_score("avg_length_reference", reference, len(annotations)),
    ]


def _annotated(annotations: Sequence[Annotation]) -> list[Annotation]:
    return [row for row in annotations if row.preference is not None]


def _mean_score(key: str, annotations: Sequence[Annotation], wins: Sequence[float]) -> Score:
    n = len(wins)
    reasons = Counter(str(row.missing) for row in annotations if row.preference is None)
    missing = len(annotations) - n
    if not n:
        return Score(key, None, 0, missing, reason="no annotation has a preference")
    value = 100 * math.fsum(wins) / n
    error = 100 * stdev(wins) / math.sqrt(n) if n > 1 else None
    half = DRAW - 1
    detail = {
        "wins": sum(win > half for win in wins),
        "losses": sum(win < half for win in wins),
        "draws": sum(win == half for win in wins),
        **{f"missing_{reason}": count for reason, count in sorted(reasons.items())},
    }
    return Score(
        key,
        value,
        n,
        missing,
        low=max(0.0, value - _Z * error) if error is not None else None,
        high=min(100.0, value + _Z * error) if error is not None else None,
        stderr=error,
        detail=detail,
    )


def _length_score(key: str, lengths: Sequence[int], total: int) -> Score:
    if not lengths:
        return Score(key, None, 0, total, reason="no answers")
    mean = math.fsum(lengths) / len(lengths)
    return Score(key, mean, len(lengths), total - len(lengths))
