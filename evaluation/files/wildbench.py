"""WildBench's numbers from its recorded files: `srlm-eval wildbench`.

WB-Score: mean score of a judge from 1 to 10, as 2·(mean − 5). WB-Reward: mean over comparisons with
a baseline of 1 (much better), ½, 0, −½, −1; answers longer by more than K characters do not win
slightly. What was not decided counts as 0, as in its tables.

Source: Lin et al. 2024, "WildBench" (arXiv 2406.04770), sections 4.1 and 4.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.errors import DataError
from core.intervals import mean_interval
from core.jsonl import opened, parse
from evaluation.files.json_rows import read_rows

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LOWEST, HIGHEST, MIDDLE = 1.0, 10.0, 5.0
REWARDS = {"win_much": 1.0, "win": 0.5, "tie": 0.0, "lose": -0.5, "lose_much": -1.0}


def report_scores(path: Path) -> dict[str, Any]:
    """Return WB-Score of one model's judged answers, with its 95 % interval over the tasks.

    A row without a score from 1 to 10 is missing, never a 0.

    Raises:
        DataError: a row has no "session_id", or one is there twice.
    """
    scores: dict[str, float | None] = {}
    for line, row in read_rows(path):
        key = row.get("session_id")
        if not isinstance(key, str) or key in scores:
            raise DataError(path, line, 'expected "session_id", each once, and "score"')
        scores[key] = _score(row.get("score"))
    values = [value for value in scores.values() if value is not None]
    interval = mean_interval(values, scale=(LOWEST, HIGHEST))
    low, high = (None, None) if interval is None else map(wb_score, interval)
    return {
        "wb_score": wb_score(sum(values) / len(values)) if values else None,
        "low": low,
        "high": high,
        "n": len(values),
        "missing": len(scores) - len(values),
    }


def wb_score(mean: float) -> float:
    """Return a mean score as WB-Score: 0 for 5, 10 for 10."""
    return 2 * (mean - MIDDLE)


def _score(value: object) -> float | None:
    try:
        score = float(str(value).strip())
    except ValueError:
        return None
    return score if LOWEST <= score <= HIGHEST else None


def report_rewards(path: Path) -> dict[str, Any]:
    """Return each model's WB-Reward, in all and by kind of task, from a table of counts.

    Raises:
        DataError: it is no object of models with the five counts and their total.
    """
    with opened(path) as file:
        table = parse(file.read(), path)
    if not isinstance(table, dict) or not table:
        raise DataError(path, None, "expected an object: models with their counts")
    return {str(model): _reward(path, str(model), counts) for model, counts in table.items()}


def _reward(path: Path, model: str, counts: object) -> dict[str, Any]:
    if not isinstance(counts, dict):
        raise DataError(path, None, f"{model}: expected {', '.join(REWARDS)} and total")
    found = _counted(path, model, counts, counts.get("total"))
    tasks = counts.get("task_categorized_results")
    if isinstance(tasks, dict):
        found["by_task"] = {
            str(task): _counted(path, f"{model}, {task}", own, None)["wb_reward"]
            for task, own in tasks.items()
        }
    return found


def _counted(path: Path, where: str, counts: object, total: object) -> dict[str, Any]:
    """Return the reward of five counts; without a total, of their sum."""
    given: Mapping[str, Any] = counts if isinstance(counts, dict) else {}
    values = [given.get(name) for name in REWARDS]
    known = [v for v in values if isinstance(v, int) and not isinstance(v, bool) and v >= 0]
    decided = sum(known)
    of = decided if total is None else total
    if len(known) != len(REWARDS) or not isinstance(of, int) or not max(1, decided) <= of:
        raise DataError(path, None, f"{where}: expected {', '.join(REWARDS)} and their total")
    points = sum(count * reward for count, reward in zip(known, REWARDS.values(), strict=True))
    return {"wb_reward": points / of, "n": of, "undecided": of - decided}
