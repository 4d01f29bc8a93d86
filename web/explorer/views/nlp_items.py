"""Pages of the NLP tasks: items that were right or wrong, and what every model did with one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.stages import Ref, Stage, evaluation_ref
from web.explorer.pages import (
    NONE,
    Asked,
    Badge,
    Card,
    Detail,
    Line,
    Link,
    Listing,
    Part,
    Words,
    choice,
    link,
    on_page,
    points,
    row_link,
)

if TYPE_CHECKING:
    from core.records import ItemScore
    from web.explorer.source import Source

ITEM_SHOWS = {
    "all": "every item",
    "differ": "models differ",
    "wrong": "wrong for every model",
    "right": "right for every model",
}


def _items(model: str, task: str) -> Ref:
    return evaluation_ref(f"{model}/nlp/{task}", Stage.ITEMS)


def nlp(source: Source, task: str, asked: Asked) -> Listing | None:
    """Return a task's items with right or wrong for every model; None for an unknown task."""
    if task not in source.run.parts("nlp"):
        return None
    outcomes: dict[str, dict[str, str]] = {}
    missing, judged = [], []
    for model in source.run.models:
        found = source.facts(_items(model, task), "key, outcome")
        if found.why is not None:
            missing.append(f"{model}: {found.why}")
            continue
        judged.append(model)
        for key, outcome in found.rows:
            outcomes.setdefault(key, {})[model] = outcome
    chosen = [(key, found) for key, found in outcomes.items() if _shows(found, asked.show)]
    lines = [
        Line(key, link(f"/nlp/{task}/item", key=key), tuple(found.get(m, NONE) for m in judged))
        for key, found in on_page(chosen, asked.page)
    ]
    return Listing(
        title=f"NLP task {task}",
        crumbs=(Link("Run", "/"),),
        columns=("item", *judged),
        lines=tuple(lines),
        total=len(chosen),
        page=asked.page,
        choices=(choice("show", "Show", ITEM_SHOWS, asked.show),),
        note="; ".join(missing) or None,
    )


def _shows(found: dict[str, str], show: str) -> bool:
    outcomes = set(found.values())
    if show == "differ":
        return len(outcomes) > 1
    return show not in ("right", "wrong") or outcomes == {show}


def nlp_item(source: Source, task: str, key: str) -> Detail | None:
    """Return what every model did with one item; None if there is no such item."""
    if task not in source.run.parts("nlp"):
        return None
    cards = []
    for model in source.run.models:
        row: ItemScore | None = source.row(_items(model, task), key)
        if row is not None:
            cards.append(_item_card(model, row, _items(model, task)))
    if not cards:
        return None
    return Detail(
        title=f"{task}: item {key}",
        crumbs=(Link("Run", "/"), Link(task, link(f"/nlp/{task}"))),
        parts=(
            Part(
                "Every model",
                tuple(cards),
                "The item's question is in the benchmark's data; a run keeps what models did.",
            ),
        ),
    )


def _item_card(model: str, row: ItemScore, ref: Ref) -> Card:
    badges = tuple(
        Badge(f"{name}: {_rightness(value)}", {1.0: "good", 0.0: "bad"}.get(value, ""))
        for name, value in row.metrics.items()
    )
    words = _choices(row.detail) if "choices" in row.detail else _generated(row.detail)
    return Card(model, badges, words, (Link("The row as it is", row_link(ref, row.key)),))


def _rightness(value: float) -> str:
    return {1.0: "right", 0.0: "wrong"}.get(value, points(value))


def _choices(detail: dict[str, Any]) -> tuple[Words, ...]:
    """List the choices with log-probabilities; the right one and the model's are marked."""
    marks = {
        "the right answer": detail.get("target"),
        "the most probable": detail.get("prediction"),
        "the most probable per character": detail.get("prediction_norm"),
    }
    logprobs = dict(enumerate(_listed(detail.get("logprobs"))))
    lines = []
    for at, text in enumerate(_listed(detail["choices"])):
        found = ", ".join(name for name, place in marks.items() if place == at)
        shown = f" ({logprobs[at]:.2f})" if isinstance(logprobs.get(at), float) else ""
        lines.append(f"{text}{shown}" + (f" ← {found}" if found else ""))
    return (Words("Choices with log-probabilities", "\n".join(lines), fixed=True),)


def _generated(detail: dict[str, Any]) -> tuple[Words, ...]:
    words = [Words("Generated text", str(detail.get("text", "")), fixed=True)]
    predictions = detail.get("prediction")
    if isinstance(predictions, dict):
        words += [Words(f"Read as ({n})", str(t), fixed=True) for n, t in predictions.items()]
    target = detail.get("target", "")
    wanted = "\n".join(map(str, target)) if isinstance(target, list | tuple) else str(target)
    return (*words, Words("Right answer", wanted, fixed=True))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
