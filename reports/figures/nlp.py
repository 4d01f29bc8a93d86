"""The alignment tax: each model against M0 on the NLP benchmarks, item by item (Table 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.paired import compare
from core.stages import Stage, evaluation_ref
from reports.document import Figure
from reports.figures.points import Point, draw_rows, height_of, sentence
from reports.formats.plotting import INK, Series, legend, render, series_of
from reports.item_values import items_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure as Canvas

    from reports.results import RunResults

_BASE = "M0"


def figure(results: RunResults) -> Figure | None:
    """Return the change against M0 in points, per task and model; None without shared items."""
    others = [model for model in results.models if model != _BASE]
    tasks = nlp_tasks(results, _BASE)
    base = {task: _items(results, f"{_BASE}/nlp/{task}") for task in tasks}
    changes = {model: _changes(results, model, base) for model in others}
    models = [model for model in others if any(changes[model])]
    if not models:
        return None
    kept = [at for at in range(len(tasks)) if any(changes[model][at] for model in models)]
    labels = [_label(tasks[at], [changes[m][at] for m in models]) for at in kept]
    looks = series_of(results.models)
    drawn = [(looks[m], [changes[m][at] for at in kept]) for m in models]
    title = "NLP benchmarks: change against M0 (alignment tax)"
    names = [tasks[at] for at in kept]
    said = " ".join(sentence(series.name, names, points) for series, points in drawn)
    description = f"Change against M0 in percentage points; negative is a loss. {said}"
    svg = render(
        "alignment_tax",
        lambda canvas: _draw(canvas, labels, drawn),
        title=title,
        description=description,
        height=height_of(len(labels), len(drawn)),
    )
    return Figure("alignment_tax", title, svg, description, "Table 3", (_NOTE,))


_NOTE = (
    "Paired on the items that both models answered. Lines are 95 % intervals; left of the zero "
    "line alignment cost something. A difference of 0 on every item has an interval of width 0."
)


def nlp_tasks(results: RunResults, model: str) -> list[str]:
    """Return the tasks a model has items of: in the configuration's order, then others by name."""
    wanted = results.config.evaluation.nlp.tasks if results.config is not None else ()
    found = sorted(p.name for p in (results.folder / "eval" / model / "nlp").glob("*"))
    names = (*wanted, *(name for name in found if name not in wanted))
    return [n for n in names if results.exists(evaluation_ref(f"{model}/nlp/{n}", Stage.ITEMS))]


def _changes(
    results: RunResults, model: str, base: Mapping[str, Mapping[str, float]]
) -> list[Point | None]:
    seed = results.config.seed if results.config is not None else 0
    found: list[Point | None] = []
    for task, theirs in base.items():
        result = compare(_items(results, f"{model}/nlp/{task}"), theirs, seed=seed)
        if result.difference is None:
            found.append(None)
            continue
        low, high = result.interval or (None, None)
        found.append(Point(result.difference, low, high, result.n))
    return found


def _items(results: RunResults, address: str) -> Mapping[str, float]:
    """Return each item's headline metric in percent; {} without scores."""
    scores = results.scores(address).values()
    metric = next((s.key for s in scores if (s.detail or {}).get("headline")), None)
    found = items_of(results, "nlp", address).get(metric) if metric is not None else None
    return found.values if found is not None else {}


def _label(task: str, points: list[Point | None]) -> str:
    sizes = sorted({p.n for p in points if p is not None})
    return f"{task} (n = {'–'.join(map(str, dict.fromkeys((sizes[0], sizes[-1]))))})"


def _draw(
    canvas: Canvas, labels: list[str], drawn: list[tuple[Series, list[Point | None]]]
) -> None:
    axes = canvas.add_subplot()
    axes.axvline(0, color=INK, lw=1.0, alpha=0.7)
    draw_rows(axes, labels, drawn)
    axes.set_xlabel("change against M0, percentage points")
    legend(canvas, axes)
