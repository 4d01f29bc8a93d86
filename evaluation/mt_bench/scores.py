"""MT-Bench scores: overall, by turn, by category, and the judge's own spread.

FastChat's rule (fastchat/llm_judge/show_result.py): a score is the mean over all judgments that
could be parsed, not a mean of means, so a turn that was judged twice counts twice. Unparsed
judgments are counted as missing.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from core.benchmarks import GRADES
from core.errors import DataError
from core.intervals import clustered_stderr, mean_interval
from core.records import Score
from core.reductions import judge_noise
from judges.fastchat_prompts import REFERENCED, TEMPERATURES, TURNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from core.records import TurnJudgment

OVERALL = "overall"
HARD = "math_coding_reasoning"
REST = "rest"


class Spread(NamedTuple):
    """Standard deviations (n − 1) of repeated judgments of identical answers.

    `within_turn` is the mean over turns with two or more scores. `by_draw` is each draw's mean over
    the turns that have a score in every draw, `overall` the deviation of those means. Both
    deviations are None with only one draw, or if the repetitions judged different answers. 0 for a
    greedy local judge, which is deterministic.
    """

    within_turn: float | None
    overall: float | None
    by_draw: tuple[float, ...]


def scores(
    judgments: Sequence[TurnJudgment], categories: Iterable[str] = TEMPERATURES
) -> list[Score]:
    """Return one model's scores, each in 1..10, with missing counts and a 95 % interval.

    Keys: "overall", "turn_1", "turn_2", "math_coding_reasoning" and "rest" (the paper's two
    groups), and "category/<name>" for all `categories`. `n` counts judgments with a score,
    `missing` those without; the two turns of a question are one cluster. "judge_noise" is that of
    repeated grades of one answer, a turn being an item. The detail of "overall" holds the reasons
    for missing ones, the turns judged more than once, and the spread.

    Raises:
        DataError: judgments of more than one judge, or of more than one model.
    """
    _require_one("judge", {j.judge for j in judgments})
    _require_one("model", {j.model for j in judgments})
    subsets = {OVERALL: list(judgments)}
    subsets |= {f"turn_{turn}": [j for j in judgments if j.turn == turn] for turn in TURNS}
    subsets[HARD] = [j for j in judgments if j.category in REFERENCED]
    subsets[REST] = [j for j in judgments if j.category not in REFERENCED]
    for name in categories:
        subsets[f"category/{name}"] = [j for j in judgments if j.category == name]
    found = []
    for key, subset in subsets.items():
        detail = _detail(subset) if key == OVERALL else None
        found.append(_score(key, subset, detail))
    repeated: dict[tuple[int, int, str], list[float]] = defaultdict(list)
    for j in judgments:
        if j.score is not None:
            repeated[j.question_id, j.turn, j.user_prompt].append(j.score)
    return [*found, judge_noise("judge_noise", repeated.values())]


def repeats(judgments: Sequence[TurnJudgment]) -> list[str]:
    """Return the turns judged more than once as "question/turn", once per extra judgment."""
    seen: set[tuple[str, int, int]] = set()
    found = []
    for j in judgments:
        turn = (j.model, j.question_id, j.turn)
        if turn in seen:
            found.append(f"{j.question_id}/t{j.turn}")
        seen.add(turn)
    return found


def spread(judgments: Sequence[TurnJudgment]) -> Spread:
    """Return the spread of repeated judgments of one model's answers."""
    by_turn: dict[tuple[int, int], dict[int, float]] = defaultdict(dict)
    prompts: dict[tuple[int, int], set[str]] = defaultdict(set)
    for j in judgments:
        if j.score is not None:
            by_turn[j.question_id, j.turn][j.draw] = j.score
            prompts[j.question_id, j.turn].add(j.user_prompt)
    draws = sorted({j.draw for j in judgments})
    complete = [found for found in by_turn.values() if len(found) == len(draws)]
    means = tuple(statistics.fmean(f[draw] for f in complete) for draw in draws if complete)
    same_answers = all(len(found) == 1 for found in prompts.values())
    deviations = [statistics.stdev(found.values()) for found in by_turn.values() if len(found) > 1]
    if not deviations or not same_answers:
        return Spread(None, None, means)
    between = statistics.stdev(means) if len(means) > 1 else None
    return Spread(statistics.fmean(deviations), between, means)


def _score(key: str, judgments: Sequence[TurnJudgment], detail: dict[str, Any] | None) -> Score:
    scored = [(j.question_id, j.score) for j in judgments if j.score is not None]
    missing = len(judgments) - len(scored)
    if not scored:
        reason = "no judgment has a score" if judgments else "nothing was judged"
        return Score(key, None, 0, missing, reason=reason, detail=detail)
    clusters = [question for question, _ in scored]
    values = [value for _, value in scored]
    low, high = mean_interval(values, clusters, scale=GRADES) or (None, None)
    mean, stderr = math.fsum(values) / len(values), clustered_stderr(values, clusters)
    return Score(key, mean, len(values), missing, low, high, stderr, detail=detail)


def _detail(judgments: Sequence[TurnJudgment]) -> dict[str, Any]:
    reasons = Counter(j.unparsed for j in judgments if j.unparsed is not None)
    again = repeats(judgments)
    found = spread(judgments)
    return {
        "judge": judgments[0].judge if judgments else None,
        "unparsed": dict(sorted(reasons.items())),
        "judged_again": len(again),
        "turn_sd": found.within_turn,
        "overall_sd": found.overall,
        "overall_by_draw": list(found.by_draw),
    }


def _require_one(what: str, names: set[str]) -> None:
    if len(names) > 1:
        listed = ", ".join(sorted(names))
        message = f"judgments of more than one {what} ({listed}): score each {what} by itself"
        raise DataError("MT-Bench judgments", None, message)
