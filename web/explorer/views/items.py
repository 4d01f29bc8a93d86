"""Views of benchmarks whose items are right or wrong: each item for every model, and one item."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from core.stages import Ref, Stage
from web.explorer import pages as ui
from web.explorer.views.view import Scores, View, no_such, show

if TYPE_CHECKING:
    from core.records import ItemScore
    from web.explorer.source import Source

SHOW = show(
    all="every item",
    differ="models differ",
    wrong="wrong for every model",
    right="right for every model",
)


def views(benchmark: str, path: str, title: str) -> tuple[View, View]:
    """Return the views of a benchmark whose rows are ItemScore, one list and one item.

    {task} in `path` and `title` stands for a part of the benchmark, if it has parts.
    """
    rows_of = ((benchmark, Stage.ITEMS),)
    return (
        View(
            path,
            partial(items, benchmark=benchmark, path=path, title=title),
            filters=(SHOW,),
            asks=("page",),
            rows_of=rows_of,
            scores=Scores("part", title, benchmark),
        ),
        View(
            f"{path}/item",
            partial(item, benchmark=benchmark, path=path, title=title),
            asks=("key",),
            rows_of=rows_of,
        ),
    )


def _require_task(source: Source, benchmark: str, task: str) -> None:
    if task and task not in (known := source.run.parts(benchmark)):
        raise no_such(f"task {task!r}", f"there are {', '.join(known) or 'none'}")


def items(source: Source, query: ui.Query, *, benchmark: str, path: str, title: str) -> ui.Listing:
    """Return a task's items with right or wrong for every model."""
    task = query.task
    _require_task(source, benchmark, task)
    there, note = source.available(source.refs(benchmark, Stage.ITEMS, task))
    outcomes: dict[str, dict[str, str]] = {}
    for model, ref in there.items():
        for key, outcome in source.facts(ref, "key, outcome").rows:
            outcomes.setdefault(key, {})[model] = outcome
    chosen = [(key, found) for key, found in outcomes.items() if _shows(found, query.show)]
    address = f"{path.format(task=task)}/item"
    return ui.Listing(
        title=title.format(task=task),
        columns=("item", *there),
        lines=tuple(
            ui.Line(key, ui.link(address, key=key), tuple(found.get(m, ui.NONE) for m in there))
            for key, found in ui.on_page(chosen, query.page)
        ),
        total=len(chosen),
        page=query.page,
        filters=(SHOW.select(query),),
        note=note,
    )


def _shows(found: dict[str, str], wanted: str) -> bool:
    outcomes = set(found.values())
    if wanted == "differ":
        return len(outcomes) > 1
    return wanted not in ("right", "wrong") or outcomes == {wanted}


def item(source: Source, query: ui.Query, *, benchmark: str, path: str, title: str) -> ui.Detail:
    """Return what every model did with one item."""
    task, key = query.task, query.key
    _require_task(source, benchmark, task)
    every = ui.link(path.format(task=task))
    refs = source.refs(benchmark, Stage.ITEMS, task)
    rows = {model: source.row(ref, key) for model, ref in refs.items()}
    cards = tuple(_card(m, row, refs[m]) for m, row in rows.items() if row is not None)
    if not cards:
        raise no_such(f"item {key!r}", f"all are at {every}")
    name = task or title
    return ui.Detail(
        title=f"{name}: item {key}",
        crumbs=(ui.RUN, ui.Link(name, every)),
        parts=(
            ui.Part(
                "Every model",
                cards,
                "The item's question is in the benchmark's data; a run keeps the models' outputs.",
            ),
        ),
    )


def _card(model: str, row: ItemScore, ref: Ref) -> ui.Card:
    badges = tuple(
        ui.Badge(f"{name}: {_rightness(value)}", {1.0: "good", 0.0: "bad"}.get(value, ""))
        for name, value in row.metrics.items()
    )
    texts = _choices(row.detail) if "choices" in row.detail else _generated(row.detail)
    return ui.Card(model, badges, texts, (ui.row_link(ref, row.key),))


def _rightness(value: float) -> str:
    return {1.0: "right", 0.0: "wrong"}.get(value, ui.number(value))


def _choices(detail: dict[str, Any]) -> tuple[ui.Text, ...]:
    """List the choices with log-probabilities; the right one and the model's are marked."""
    marks = {
        "the right answer": detail.get("target"),
        "the most probable": detail.get("prediction"),
        "the most probable per character": detail.get("prediction_norm"),
    }
    logprobs = dict(enumerate(_as_list(detail.get("logprobs"))))
    lines = []
    for at, text in enumerate(_as_list(detail["choices"])):
        found = ", ".join(name for name, place in marks.items() if place == at)
        shown = f" ({logprobs[at]:.2f})" if isinstance(logprobs.get(at), float) else ""
        lines.append(f"{text}{shown}" + (f" ← {found}" if found else ""))
    return (ui.Text("Choices with log-probabilities", "\n".join(lines), fixed=True),)


def _generated(detail: dict[str, Any]) -> tuple[ui.Text, ...]:
    """List the generated text, how it was read and what was right; then any other details."""
    others = dict(detail)
    texts = [ui.Text("Prompt", str(others.pop("prompt")), fixed=True)] if "prompt" in others else []
    texts.append(ui.Text("Generated text", str(others.pop("text", "")), fixed=True))
    predictions = others.pop("prediction", None)
    if isinstance(predictions, dict):
        texts += [ui.Text(f"Read as ({n})", str(t), fixed=True) for n, t in predictions.items()]
    if "target" in others:
        target = others.pop("target")
        wanted = "\n".join(map(str, target)) if isinstance(target, list | tuple) else str(target)
        texts.append(ui.Text("Right answer", wanted, fixed=True))
    texts += [
        ui.Text(ui.spaced(n), ui.field_text(value), fixed=True) for n, value in others.items()
    ]
    return tuple(texts)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
