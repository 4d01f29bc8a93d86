"""Rows of benchmarks that grade one answer: MT-Bench and the NLP tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.stages import Stage, evaluation_ref
from reports.document import Item, number
from reports.formats.plotting import shown_name
from reports.rows.texts import Part, group, points, said

if TYPE_CHECKING:
    from core.records import ItemScore, TurnJudgment
    from reports.document import RowGroup
    from reports.results import RunResults


def mt_bench(results: RunResults, model: str, most: int) -> RowGroup | None:
    """Return a model's MT-Bench grades by question, turn and draw; None without any."""
    ref = evaluation_ref(f"{model}/mt_bench", Stage.TURN_JUDGMENTS)
    if not results.exists(ref):
        return None
    return group(
        f"{model}/mt_bench",
        f"MT-Bench, {shown_name(model)}",
        ("question", "turn", "draw", "category", "score"),
        results.rows(ref),
        _graded,
        most=most,
        artifact=ref,
    )


def _graded(row: TurnJudgment) -> Item:
    score = points(row.score) if row.score is not None else f"no score: {row.unparsed}"
    cells = (str(row.question_id), str(row.turn), str(row.draw + 1), row.category, score)
    parts = (
        (f"What the judge was shown ({row.judge_prompt})", row.user_prompt),
        (f"The judge's words ({row.judge})", said(row.reply)),
    )
    return Item(row.key, cells, parts)


def nlp(results: RunResults, model: str, task: str, most: int) -> RowGroup | None:
    """Return a model's items of one task; None without any."""
    address = f"{model}/nlp/{task}"
    ref = evaluation_ref(address, Stage.ITEMS)
    if not results.exists(ref):
        return None
    rows: list[ItemScore] = results.rows(ref)
    metrics = tuple(dict.fromkeys(name for row in rows for name in row.metrics))
    return group(
        address,
        f"{task}, {shown_name(model)}",
        ("item", *metrics),
        rows,
        lambda row: _item(row, metrics),
        most=most,
        artifact=ref,
    )


def _item(row: ItemScore, metrics: tuple[str, ...]) -> Item:
    cells = [_outcome(row.metrics.get(name)) for name in metrics]
    detail = row.detail
    parts = _choices(detail) if "choices" in detail else _generated(detail)
    return Item(row.key, (f"{row.task} {row.item}", *cells), tuple(parts))


def _outcome(value: float | None) -> str:
    named = {None: "missing", 0.0: "wrong", 1.0: "right"}
    return named[value] if value in named else number(value or 0.0)


def _choices(detail: dict[str, Any]) -> list[Part]:
    """List the choices with their log-probabilities; the right one and the model's are marked."""
    marks = {
        "the right answer": detail.get("target"),
        "the most probable": detail.get("prediction"),
        "the most probable per character": detail.get("prediction_norm"),
    }
    lines = []
    logprobs = detail.get("logprobs", [])
    for at, choice in enumerate(detail["choices"]):
        found = ", ".join(name for name, place in marks.items() if place == at)
        logprob = f" ({number(logprobs[at])})" if at < len(logprobs) else ""
        lines.append(f"{choice}{logprob}" + (f" ← {found}" if found else ""))
    return [("Choices with log-probabilities", "\n".join(lines))]


def _generated(detail: dict[str, Any]) -> list[Part]:
    parts = [("Generated text", said(str(detail.get("text", ""))))]
    predictions = detail.get("prediction")
    if isinstance(predictions, dict):
        parts += [(f"Read as ({name})", said(str(text))) for name, text in predictions.items()]
    target = detail.get("target", "")
    wanted = "\n".join(map(str, target)) if isinstance(target, list | tuple) else str(target)
    return [*parts, ("Right answer", wanted)]
