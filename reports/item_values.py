"""The items behind a number: the value of each, such that their mean is the number.

Paired tests, the regression gate and anyone who plots a run's scores.json work on these. Items
without a value (unparsed, failed, absent) are left out, as they are from the number itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from core.reductions import combine_all, mean_scores
from core.stages import Ref, Stage, evaluation_ref

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.records import (
        Annotation,
        ItemScore,
        Judgment,
        RankedPrompt,
        TurnJudgment,
        Verdict,
    )
    from reports.results import RunResults

_PERCENT = (0.0, 100.0)
_POINTS_OF = {"A": 100.0, "tie": 0.0, "B": -100.0}


class Items(NamedTuple):
    """Values by item, the scale they lie on, and which items are one observation."""

    values: dict[str, float]
    scale: tuple[float, float]
    clusters: dict[str, str] | None = None


def items_of(results: RunResults, benchmark: str, address: str) -> dict[str, Items]:
    """Return, per metric of a benchmark that is a mean over items, its items.

    Keys are the scores' own, and for agreement "pairwise_accuracy/ties_half": the reading in which
    every pair has a value whatever the judge says. {} for benchmarks without such a metric.
    """
    return results.remember(("items", address), lambda: _items_of(results, benchmark, address))


def _items_of(results: RunResults, benchmark: str, address: str) -> dict[str, Items]:
    if benchmark == "agreement":
        judgments = results.rows(evaluation_ref(address, Stage.RANKED_JUDGMENTS))
        return _agreement(results.rows(Ref(1, Stage.RANKED)), judgments)
    if benchmark not in _FROM_ROWS:
        return {}
    stage, read = _FROM_ROWS[benchmark]
    return read(results.rows(evaluation_ref(address, stage)))


def _head_to_head(orders: list[Verdict]) -> dict[str, Items]:
    """Net wins: 100 where the first model won, −100 where it lost."""
    verdicts = combine_all({verdict.key: verdict for verdict in orders})
    values = {v.prompt_key: _POINTS_OF[v.winner] for v in verdicts if v.winner is not None}
    return {"net": Items(values, (-100.0, 100.0))}


def _alpaca_eval(annotations: list[Annotation]) -> dict[str, Items]:
    graded = {row.key: row.preference for row in annotations if row.preference is not None}
    # A preference of 0 is how the package writes a draw.
    values = {key: 100 * ((found or 1.5) - 1) for key, found in graded.items()}
    return {"win_rate": Items(values, _PERCENT)}


def _mt_bench(judgments: list[TurnJudgment]) -> dict[str, Items]:
    scored = [(j, j.score) for j in judgments if j.score is not None]
    # A turn judged twice counts twice in the score, so every draw is an item of its own.
    keys = [f"{j.question_id}/{j.turn}/{j.draw}" for j, _ in scored]
    values = {key: score for key, (_, score) in zip(keys, scored, strict=True)}
    clusters = {key: str(j.question_id) for key, (j, _) in zip(keys, scored, strict=True)}
    return {"overall": Items(values, (1.0, 10.0), clusters)}


def _nlp(items: list[ItemScore]) -> dict[str, Items]:
    names = dict.fromkeys(name for item in items for name in item.metrics)
    return {
        name: Items(
            {item.key: 100 * item.metrics[name] for item in items if name in item.metrics}, _PERCENT
        )
        for name in names
    }


def _human(items: list[ItemScore]) -> dict[str, Items]:
    """Net wins by majority; an item that lacks a vote has no value."""
    values = {item.key: item.metrics["net"] for item in items if item.metrics}
    return {"net": Items(values, (-100.0, 100.0))}


def _agreement(ranked: list[RankedPrompt], judgments: list[Judgment]) -> dict[str, Items]:
    """Pairs of differently ranked replies, and whether each judge reply could be read."""
    means = {key: found.mean for key, found in mean_scores(judgments).items()}
    right: dict[str, float] = {}
    owner: dict[str, str] = {}
    for prompt in ranked:
        ordered = sorted(prompt.replies, key=lambda reply: reply.rank)
        for at, better in enumerate(ordered):
            for worse in ordered[at + 1 :]:
                high, low = means.get(better.key), means.get(worse.key)
                if better.rank == worse.rank or high is None or low is None:
                    continue
                key = f"{better.key} > {worse.key}"
                right[key] = 100.0 * (high > low) + 50.0 * (high == low)
                owner[key] = prompt.key
    readable = {j.key: float(j.score is not None) for j in judgments}
    return {
        "pairwise_accuracy/ties_half": Items(right, _PERCENT, owner),
        "parse_rate": Items(readable, (0.0, 1.0), {j.key: j.prompt_key for j in judgments}),
    }


_FROM_ROWS: dict[str, tuple[Stage, Callable[[list[Any]], dict[str, Items]]]] = {
    "head_to_head": (Stage.VERDICTS, _head_to_head),
    "alpaca_eval": (Stage.ANNOTATIONS, _alpaca_eval),
    "mt_bench": (Stage.TURN_JUDGMENTS, _mt_bench),
    "nlp": (Stage.ITEMS, _nlp),
    "human": (Stage.ITEMS, _human),
}
