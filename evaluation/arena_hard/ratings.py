"""Published ratings of many models: win rates against a baseline, and how well they separate.

Source: Li et al. 2024 (arXiv 2406.11939), section 4: separability with confidence.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from core.errors import ConfigError, DataError
from evaluation.files.json_rows import number, read_rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_SCALE = 400.0  # rating points for odds of 10 to 1
_PERCENTILES = (2.5, 97.5)


class Rating(NamedTuple):
    """A model's rating with its 95 % interval."""

    model: str
    score: float
    low: float
    high: float


def read_ratings(path: Path) -> list[Rating]:
    """Read a file of ratings: "model", "score", and bootstrap "results" or "lower" and "upper".

    Raises:
        DataError: a row has not this form, or a model is there twice.
    """
    found: dict[str, Rating] = {}
    for line, row in read_rows(path):
        model, results = row.get("model"), row.get("results")
        if not isinstance(model, str) or model in found:
            raise DataError(path, line, '"model" must be the name of a model that is there once')
        score = number(path, line, row, "score")
        if isinstance(results, list) and results:
            if not all(isinstance(value, int | float) for value in results):
                raise DataError(path, line, '"results" must be a list of numbers')
            low, high = (float(end) for end in np.percentile(results, _PERCENTILES))
        else:
            low, high = number(path, line, row, "lower"), number(path, line, row, "upper")
        found[model] = Rating(model, score, low, high)
    return [*found.values()]


def win_rates(ratings: Sequence[Rating], baseline: str) -> dict[str, float]:
    """Return each model's expected win rate against the baseline in percent, by Bradley-Terry.

    Raises:
        ConfigError: the baseline has no rating.
    """
    scores = {rating.model: rating.score for rating in ratings}
    if baseline not in scores:
        names = ", ".join(sorted(scores)[:8])
        raise ConfigError(f"--baseline {baseline}: not among the rated models ({names}, …)")
    return {
        model: 100 / (1 + 10 ** ((scores[baseline] - score) / _SCALE))
        for model, score in scores.items()
    }


def separability(ratings: Sequence[Rating]) -> float | None:
    """Return the share of model pairs with disjoint intervals in percent; None below two models."""
    apart = [a.low > b.high or b.low > a.high for a, b in combinations(ratings, 2)]
    return 100 * sum(apart) / len(apart) if apart else None
