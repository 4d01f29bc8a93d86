"""LLMBar: agreement of a pairwise judge with human labels on instruction following.

Source: Zeng et al. 2024, "Evaluating Large Language Models at Evaluating Instruction Following".
The files ({input, output_1, output_2, label}) are the authors' and are not shipped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from core.errors import DataError
from core.intervals import share_score
from core.progress import track
from core.records import Verdict
from core.reductions import combine_all
from engines.opening import open_engine
from evaluation.files.json_rows import read_rows
from evaluation.judge import judge_folder
from evaluation.run import engine_section
from judges.asking import settle_failures
from judges.backends.opening import open_judge
from judges.health import measure_comparisons
from judges.pairwise import AnswerPair, judge_orders, pair_prompt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from core.evaluation_config import JudgeBackendSection
    from core.records import Score
    from judges.asking import Reply
    from judges.replies import Winner

Side: TypeAlias = Literal["A", "B"]

_LABELS: dict[object, Side] = {1: "A", 2: "B"}
_TEXTS = ("input", "output_1", "output_2")
CHANCE = 50.0
_NOTHING = "no verdict to count"


class LabelledPairs(NamedTuple):
    """A file's comparisons (output_1 is A), and the right side by comparison key."""

    comparisons: list[AnswerPair]
    labels: dict[str, Side]


def load(path: Path) -> LabelledPairs:
    """Read one of LLMBar's files; keys are the file's name and the item's index.

    Raises:
        DataError: a field is missing or not text, or a label is not 1 or 2.
    """
    name = path.name.split(".")[0]
    items = LabelledPairs([], {})
    for number, row in read_rows(path):
        for field in _TEXTS:
            if not isinstance(row.get(field), str):
                raise DataError(path, number, f"{field} is not text; expected {', '.join(_TEXTS)}")
        label = row.get("label")
        if isinstance(label, bool) or label not in (1, 2):
            raise DataError(path, number, f"label is {label!r}, expected 1 or 2")
        key = f"{name}/{number - 1}"
        prompt, first, second = (row[field] for field in _TEXTS)
        items.comparisons.append(AnswerPair(key, prompt, "output_1", "output_2", first, second))
        items.labels[key] = _LABELS[label]
    return items


def always_longer(comparisons: Sequence[AnswerPair]) -> list[Verdict]:
    """Return the verdicts of the baseline that prefers the longer answer; equal lengths tie."""
    found = []
    for item in comparisons:
        a, b = len(item.answer_a), len(item.answer_b)
        winner: Winner = "tie" if a == b else "A" if a > b else "B"
        found.append(Verdict(item.key, item.key, item.a, item.b, winner))
    return found


def agreement(verdicts: Sequence[Verdict], labels: Mapping[str, Side]) -> list[Score]:
    """Return a judge's agreement with the labels in %, its tie rate and its parse rate.

    A tie is two orders that disagree, one of which is right: it counts half, so that the value is
    LLMBar's own average over both orders and chance is 50; `detail` has the value without ties and
    with ties as wrong, and the counts. Comparisons without a readable verdict are missing. Wilson
    intervals, conservative where there are ties.

    Raises:
        ValueError: a verdict has no label, or an item has two verdicts.
    """
    winners = {verdict.key: verdict.winner for verdict in verdicts}
    if len(winners) != len(verdicts) or not winners.keys() <= labels.keys():
        message = "one verdict per labelled item, with the item's key"
        raise ValueError(message)
    found = [(winner, labels[key]) for key, winner in winners.items() if winner is not None]
    ties = sum(winner == "tie" for winner, _ in found)
    right = sum(winner == label for winner, label in found)
    n, missing, asked = len(found), len(labels) - len(found), len(verdicts)
    detail = {
        "ties_excluded": 100 * right / (n - ties) if n > ties else None,
        "ties_wrong": 100 * right / n if n else None,
        "right": right,
        "wrong": n - ties - right,
        "ties": ties,
        "chance": CHANCE,
    }
    return [
        share_score("agreement", right + ties / 2, n, missing, reason=_NOTHING, detail=detail),
        share_score("tie_rate", ties, n, missing, scale=1.0, reason=_NOTHING),
        share_score("parse_rate", n, asked, len(labels) - asked, scale=1.0, reason=_NOTHING),
    ]


def report(
    path: Path,
    section: JudgeBackendSection,
    *,
    prompt: str,
    cassette: Path,
    limit: int | None,
    dtype: str,
) -> dict[str, Any]:
    """Judge a file of LLMBar in both orders and compare with its labels; numbers in percent.

    Replies are recorded in `cassette`; a second call sends no requests.

    Raises:
        DataError: the file is not in LLMBar's format.
        ConfigError: the judge cannot be opened.
        JudgeFailed: requests failed permanently; received replies are recorded.
    """
    items = load(path)
    comparisons = items.comparisons[:limit]
    labels = {item.key: items.labels[item.key] for item in comparisons}

    judge = open_judge(
        section,
        cassette,
        lambda: open_engine(judge_folder(section.model), engine_section(dtype)),
        seed=0,
    )
    failures: list[Reply] = []
    orders = {}
    with track(f"{judge.name} judges {path.name}", 2 * len(comparisons)) as advance:
        for verdict in judge_orders(judge, comparisons, pair_prompt(prompt), failures=failures):
            orders[verdict.key] = verdict
            advance()
    settle_failures(failures, 2 * len(comparisons), allowed_share=0)
    lengths = {c.key: (len(c.answer_a), len(c.answer_b)) for c in comparisons}
    found = agreement(combine_all(orders), labels)
    longer = agreement(always_longer(comparisons), labels)[0]
    return {
        "file": str(path),
        "judge": judge.name,
        "prompt": prompt,
        "n": len(comparisons),
        **{score.key: _score_fields(score) for score in found},
        "chance": CHANCE,
        "always_longer": _score_fields(longer),
        "judge_health": {
            m.key: {"value": m.value, "n": m.n}
            for m in measure_comparisons(list(orders.values()), lengths)
        },
    }


def _score_fields(score: Score) -> dict[str, Any]:
    fields = ("value", "low", "high", "n", "missing")
    return {field: getattr(score, field) for field in fields} | (score.detail or {})
