"""`srlm-eval arena-hard`: Arena-Hard's numbers from recorded judgments, answers and ratings."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from core.errors import ConfigError
from evaluation.arena_hard.battles import Battle, read_judgments
from evaluation.arena_hard.rates import Styles, controlled_rates, win_rate
from evaluation.arena_hard.ratings import read_ratings, separability, win_rates
from evaluation.arena_hard.style import read_answers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from core.records import Score
    from evaluation.arena_hard.style import Answers

BASELINES = {
    "arena-hard-v0.1": "gpt-4-0314",
    "hard_prompt": "o3-mini-2025-01-31",
    "coding": "o3-mini-2025-01-31",
    "math": "o3-mini-2025-01-31",
    "creative_writing": "gemini-2.0-flash-001",
}
"""The published baseline of each category."""


def report_judgments(
    files: Sequence[Path], answers: Sequence[Path], *, baseline: str | None = None
) -> dict[str, Any]:
    """Return every category's and model's rates; controlled for style if there are answers.

    Raises:
        DataError: a file has another form.
        ConfigError: a category has no known baseline, or its answers were not given.
    """
    styles = {found.model: found.styles for found in map(read_answers, answers)}
    by_category: dict[str, list[Battle]] = defaultdict(list)
    for path in files:
        for battle in read_judgments(path):
            by_category[battle.category].append(battle)
    return {
        category: _category(category, battles, styles, baseline)
        for category, battles in sorted(by_category.items())
    }


def _category(
    category: str,
    battles: Sequence[Battle],
    styles: Mapping[str, Any],
    baseline: str | None,
) -> dict[str, Any]:
    by_model: dict[str, list[Battle]] = defaultdict(list)
    for battle in battles:
        by_model[battle.model].append(battle)
    found = {model: [win_rate(own)] for model, own in sorted(by_model.items())}
    if styles:
        against = baseline or BASELINES.get(category)
        if against is None or against not in styles:
            what = f"the baseline of {category} ({against or 'unknown: name it with --baseline'})"
            raise ConfigError(f"--answers: no answers of {what}; style is compared with them")
        controlled = controlled_rates(battles, Styles(styles, against))
        for model, score in controlled.items():
            found[model].append(score)
    return {
        model: {score.key: _plain(score) for score in scores} for model, scores in found.items()
    }


def _plain(score: Score) -> dict[str, Any]:
    found: dict[str, Any] = {
        "value": score.value,
        "low": score.low,
        "high": score.high,
        "n": score.n,
    }
    found["missing"] = score.missing
    if score.reason:
        found["reason"] = score.reason
    return found | (score.detail or {})


def report_styles(files: Sequence[Path]) -> dict[str, Any]:
    """Return the style of every answer, by model and question, and each model's totals."""
    return {found.model: _styles(found) for found in map(read_answers, files)}


def _styles(found: Answers) -> dict[str, Any]:
    each = {question: style._asdict() for question, style in found.styles.items()}
    fields = next(iter(each.values()))
    totals = {name: sum(style[name] for style in each.values()) for name in fields}
    return {"answers": len(each), "totals": totals, "each": each}


def report_ratings(path: Path, baseline: str | None) -> dict[str, Any]:
    """Return the models' separability and, with a baseline, their win rates against it."""
    ratings = read_ratings(path)
    found: dict[str, Any] = {"models": len(ratings), "separability": separability(ratings)}
    if baseline is not None:
        found["win_rates"] = win_rates(ratings, baseline)
    return found
