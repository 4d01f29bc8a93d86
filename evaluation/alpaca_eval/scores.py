"""The scores of AlpacaEval annotations: for a run's artifact, and for a recorded file."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from core.records import Score
from evaluation.alpaca_eval.files import (
    BENCHMARK_SIZE,
    official_index,
    read_annotations,
    require_one_table,
)
from evaluation.alpaca_eval.length_control import LengthControlled, length_controlled
from evaluation.alpaca_eval.tags import breakdown
from evaluation.alpaca_eval.win_rate import average_lengths, discrete_win_rate, win_rate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from core.records import Annotation, Tag

BOOTSTRAP = 200  # as AlpacaEvalSection.bootstrap

# Leaderboard results whose recorded file lacks rows, with the published length-controlled number.
# It was fitted with difficulties taken by row (see length_control.py); importing such a
# file must give what was published, with the number by instruction beside it.
PUBLISHED_BY_ROW = {"text_davinci_001": 9.03}
_PUBLISHED_TOLERANCE = 0.2  # scikit-learn's builds choose C differently


def scores(
    annotations: Sequence[Annotation],
    *,
    length_control_data: str | None,
    bootstrap: int = BOOTSTRAP,
    seed: int = 0,
    tags: Iterable[Tag] | None = None,
) -> list[Score]:
    """Return win_rate, discrete_win_rate, length_controlled_win_rate, avg_length and its reference.

    With tags also the breakdowns of tags.py. The length-controlled score's detail names the variant
    (see length_control.py).

    Raises:
        DataError: annotators or models are mixed, or the length-control data cannot be used.
        ConfigError: the hub cannot be reached.
    """
    require_one_table(annotations, "annotations")
    controlled = length_controlled(annotations, length_control_data, bootstrap=bootstrap, seed=seed)
    found = [
        win_rate(annotations),
        discrete_win_rate(annotations),
        _length_controlled_score(controlled, len(annotations)),
        *average_lengths(annotations),
    ]
    return found if tags is None else [*found, *breakdown(annotations, tags)]


def report(
    path: Path, length_control_data: str | None, *, bootstrap: int = BOOTSTRAP, seed: int = 0
) -> dict[str, Any]:
    """Score a recorded annotation file: a JSON object, absent numbers None.

    `n` counts annotations with a preference. `n_missing` counts those without one and, if all the
    file's instructions are the benchmark's, also those of the 805 that it lacks (`n_absent`).
    `length_controlled_win_rate` looks up difficulties by instruction. For a file that lacks rows
    `..._by_row` is the package's number beside `..._by_instruction` (both None otherwise); only
    where a published number is known to be the one by row (`PUBLISHED_BY_ROW`), and is met, does
    it stand as the length-controlled win rate. `length_control_note` says so.

    Raises:
        DataError: the file cannot be read, or mixes annotators or models.
    """
    annotations = read_annotations(path)
    require_one_table(annotations, str(path))
    controlled = length_controlled(annotations, length_control_data, bootstrap=bootstrap, seed=seed)
    wins, note = win_rate(annotations), controlled.reason
    absent = _absent(annotations)
    by_row = by_instruction = None
    if absent and length_control_data is not None:
        by_instruction = controlled.value
        shifted = length_controlled(
            annotations, length_control_data, bootstrap=bootstrap, seed=seed, by_row=True
        )
        by_row = shifted.value
        published = PUBLISHED_BY_ROW.get(annotations[0].generator_2, math.inf)
        met = by_row is not None and abs(by_row - published) <= _PUBLISHED_TOLERANCE
        controlled = shifted if met else controlled
        note = (
            f"{absent} of the {BENCHMARK_SIZE} instructions are absent. The package takes "
            f"difficulties by row, which shifts them: {_shown(by_row)} by row, "
            f"{_shown(by_instruction)} by instruction; "
            + ("the published number is the one by row" if met else "by instruction is right")
        )
    detail, (length, reference_length) = wins.detail or {}, average_lengths(annotations)
    return {
        "file": str(path),
        "annotator": annotations[0].annotator,
        "model": annotations[0].generator_2,
        "reference": annotations[0].generator_1,
        "win_rate": wins.value,
        "standard_error": wins.stderr,
        "win_rate_low": wins.low,
        "win_rate_high": wins.high,
        "discrete_win_rate": discrete_win_rate(annotations).value,
        "n": wins.n,
        "n_missing": wins.missing + absent,
        "n_absent": absent,
        "n_wins": detail.get("wins", 0),
        "n_losses": detail.get("losses", 0),
        "n_draws": detail.get("draws", 0),
        "length_controlled_win_rate": controlled.value,
        "length_control_variant": controlled.variant,
        "length_controlled_standard_error": controlled.stderr,
        "length_controlled_low": controlled.low,
        "length_controlled_high": controlled.high,
        "length_control_resamples": controlled.resamples,
        "length_control_note": note,
        "length_controlled_win_rate_by_row": by_row,
        "length_controlled_win_rate_by_instruction": by_instruction,
        "avg_length": length.value,
        "avg_length_reference": reference_length.value,
    }


def _length_controlled_score(found: LengthControlled, total: int) -> Score:
    detail: dict[str, Any] = {"variant": found.variant, "resamples": found.resamples, "c": found.c}
    if found.value is not None and found.reason is not None:
        detail["note"] = found.reason
    return Score(
        "length_controlled_win_rate",
        found.value,
        found.n,
        total - found.n,
        low=found.low,
        high=found.high,
        stderr=found.stderr,
        reason=found.reason if found.value is None else None,
        detail=detail,
    )


def _absent(annotations: Sequence[Annotation]) -> int:
    """Return how many of the benchmark's instructions the file lacks; 0 for other prompt sets."""
    official = all(row.key in official_index() for row in annotations)
    return BENCHMARK_SIZE - len(annotations) if official else 0


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
