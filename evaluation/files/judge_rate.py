"""A judge's win rate corrected by people's labels of some of its pairs: `srlm-eval judge-rate`.

The labelled pairs say how often the judge is right; its rate is taken from the other pairs, so that
the two samples are independent, as the correction assumes (core/judge_rates.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.judge_rates import Labels, corrected_rate, labels_to_halve
from evaluation.files.judge_accuracy import Labelled, read_labels, read_verdicts, share

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def report(verdicts: Path, labels: Path | None = None) -> dict[str, Any]:
    """Read verdicts and labels as `judge-accuracy` does, and correct the rate of side A.

    Raises:
        DataError: see `read_verdicts`.
    """
    known = None if labels is None else read_labels(labels)
    return corrected_report(read_verdicts(verdicts, known))


def corrected_report(items: Sequence[Labelled]) -> dict[str, Any]:
    """Return rates in percent at which side A wins; ties, and orders that disagree, are no wins.

    judge: the judge's rate on the pairs without a label.
    people: people's rate on the pairs with one.
    corrected: what people's rate would be on the pairs without one.
    judge_right_on_wins, judge_right_on_losses: on the pairs with a label (q₁, q₀).
    labels, labels_to_halve: those there are, and those that would halve the interval.
    """
    read = [item for item in items if None not in item.counted]
    labelled = [item for item in read if item.label is not None]
    rest = [item.is_for("A") for item in read if item.label is None]
    on_wins = [item.is_for("A") for item in labelled if item.label == "A"]
    on_losses = [not item.is_for("A") for item in labelled if item.label != "A"]
    counts = Labels(sum(on_wins), len(on_wins), sum(on_losses), len(on_losses))
    found = corrected_rate(sum(rest), len(rest), counts)
    reason = found.reason if rest else "every pair has a label: people's own rate is the answer"
    interval = found.interval.scaled(100) if found.interval else None
    return {
        "judge": share(rest),
        "people": share(item.label == "A" for item in labelled),
        "corrected": {
            "value": None if found.value is None else 100 * found.value,
            "low": interval.low if interval else None,
            "high": interval.high if interval else None,
            "n": len(rest),
            "reason": reason,
        },
        "judge_right_on_wins": share(on_wins),
        "judge_right_on_losses": share(on_losses),
        "labels": len(labelled),
        "labels_to_halve": labels_to_halve(sum(rest), len(rest), counts) if interval else None,
        "n_unread": len(items) - len(read),
    }
