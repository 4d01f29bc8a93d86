"""The alignment tax: change of each model against M0 on the NLP items (Table 3)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from core.paired import Comparison, compare
from core.stages import Stage, evaluation_ref
from reports.document import Cell, Figure, Published, Table, TableRow
from reports.formats.plotting import INK, series_of
from reports.published import comparable
from reports.published.comparable import PublishedNumbers
from reports.sections import drawing
from reports.sections.cells import P_VALUE_DIGITS, P_VALUE_NOTE, PERCENT, label, seed_of
from reports.sections.nlp.scores import MACRO, MMLU, Column, columns_of, nlp_tasks, tasks_and_models

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes

    from core.reader import RunReader

BASE = "M0"
_FIGURE_NOTE = (
    "Paired on the items that both models answered. Lines are 95 % intervals; left of the zero "
    "line alignment cost something."
)


class _Pair(NamedTuple):
    difference: Cell
    p_value: Cell


def table(results: RunReader, *, seed: int = 0) -> Table | None:
    """Return, per model, its difference to M0 on the items both have, and a row of p-values.

    Negative is a loss. None if the benchmarks are not configured, or for one model only. `seed`: of
    sampled sign flips.
    """
    tasks, found = tasks_and_models(results)
    models = [model for model in found if model != BASE]
    if not tasks or not models:
        return None
    columns = columns_of(results, tasks)
    beside = {task: PublishedNumbers(results, f"nlp/{task}", (BASE, *models)) for task in tasks}
    rows = []
    for model in models:
        pairs = [_pair(results, model, column, beside[column.task], seed) for column in columns]
        rows.append(TableRow(f"{label(model)} − {BASE}", tuple(p.difference for p in pairs)))
        rows.append(TableRow(f"{label(model)} − {BASE}: p", tuple(p.p_value for p in pairs)))
    tested = sum(cell.value is not None for row in rows[1::2] for cell in row.cells)
    uncorrected = [f"p-values are not corrected for the {tested} tests in this table."]
    return Table(
        key="alignment_tax",
        title=f"Alignment tax: difference to {BASE} on the same items (points of percent)",
        head="model",
        columns=tuple(column.title for column in columns),
        rows=tuple(rows),
        origin="Table 3",
        notes=(
            "Negative: the model is worse than M0. Differences are paired by item; items that "
            "only one of the two models has are missing. McNemar's exact test for items that are "
            "right or wrong; for the MMLU macro average, sign-flip test over items weighted by "
            f"subject. {P_VALUE_NOTE}",
            *(uncorrected if tested > 1 else ()),
            *comparable.notes_of(beside.values()),
        ),
    )


def _pair(
    results: RunReader, model: str, column: Column, beside: PublishedNumbers, seed: int
) -> _Pair:
    places = {name: f"{name}/nlp/{column.task}" for name in (model, BASE)}
    published = _published(beside, model, column)
    absent = [
        f"{label(name)}: {results.why_absent(address) or 'no items'}"
        for name, address in places.items()
        if not results.exists(evaluation_ref(address, Stage.ITEMS))
    ]
    if absent:
        reason = "; ".join(absent)
        return _Pair(Cell(reason=reason, published=published), Cell(reason=reason))
    metric = "acc" if column.metric == MACRO else column.metric or ""
    ours, theirs = (_shares(results, address, metric) for address in places.values())
    scale = (0.0, 1.0)
    if column.metric == MACRO:
        ours, theirs = _by_subject(ours, theirs)
        scale = (0.0, max(1.0, *ours.values(), *theirs.values()))
    pair = _cells(compare(ours, theirs, scale=scale, seed=seed), places[model])
    return pair._replace(difference=replace(pair.difference, published=published))


def _shares(results: RunReader, address: str, metric: str) -> Mapping[str, float]:
    """Return each item's value in 0..1."""
    found = results.items(address).get(metric)
    return {i: value / PERCENT for i, value in found.values.items()} if found is not None else {}


def _by_subject(*models: Mapping[str, float]) -> list[Mapping[str, float]]:
    """Return two models' items weighted so that their means are means over subjects.

    An item of a subject with s of n shared items in k subjects weighs n / (k·s). Items that one
    model lacks stay as they are, to be counted.
    """
    subjects = {item: item.rpartition("/")[0] for item in set.intersection(*map(set, models))}
    sizes = Counter(subjects.values())
    weights = {i: len(subjects) / (len(sizes) * sizes[of]) for i, of in subjects.items()}
    return [{i: v * weights.get(i, 1.0) for i, v in each.items()} for each in models]


def _cells(found: Comparison, address: str) -> _Pair:
    missing = found.n_only_a + found.n_only_b
    if found.difference is None or found.p_value is None:
        absent = Cell(reason="the two models have no item in common", n=0, missing=missing)
        return _Pair(absent, absent)
    low, high = found.interval or (None, None)
    difference = Cell(
        value=PERCENT * found.difference,
        low=None if low is None else PERCENT * low,
        high=None if high is None else PERCENT * high,
        n=found.n,
        missing=missing,
        rows=address,
    )
    return _Pair(difference, Cell(value=found.p_value, digits=P_VALUE_DIGITS, n=found.n))


def _published(beside: PublishedNumbers, model: str, column: Column) -> Published | None:
    """Return the paper's difference, from its scores; the macro average is its MMLU."""
    if not column.is_papers:
        return None
    theirs = beside.published(model, column.task), beside.published(BASE, column.task)
    if theirs[0] is None or theirs[1] is None:
        return None
    return Published(round(theirs[0].value - theirs[1].value, 2), theirs[0].source)


def figure(results: RunReader) -> Figure | None:
    """Return the change against M0 in points, per task and model; None without shared items."""
    others = [model for model in results.models if model != BASE]
    tasks = nlp_tasks(results, BASE)
    base = {task: headline_items(results, f"{BASE}/nlp/{task}") for task in tasks}
    changes = {model: _changes(results, model, base) for model in others}
    models = [model for model in others if any(changes[model])]
    if not models:
        return None
    kept = [at for at in range(len(tasks)) if any(changes[model][at] for model in models)]
    labels = [f"{tasks[at]} (n = {drawing.span([changes[m][at] for m in models])})" for at in kept]
    looks = series_of(results.models)
    drawn = [(looks[m], [changes[m][at] for at in kept]) for m in models]
    wording = drawing.sentences([tasks[at] for at in kept], drawn)

    def draw(axes: Axes) -> None:
        axes.axvline(0, color=INK, lw=1.0, alpha=0.7)
        drawing.draw_rows(axes, labels, drawn)
        axes.set_xlabel("change against M0, percentage points")

    return drawing.drawn_figure(
        "alignment_tax",
        "NLP benchmarks: change against M0 (alignment tax)",
        draw,
        f"Change against M0 in percentage points; negative is a loss. {wording}",
        height=drawing.height_of(len(labels), len(drawn)),
        origin="Table 3",
        notes=(_FIGURE_NOTE,),
    )


def _changes(
    results: RunReader, model: str, base: Mapping[str, Mapping[str, float]]
) -> list[drawing.Point | None]:
    found = []
    for task, theirs in base.items():
        pair = [headline_items(results, f"{model}/nlp/{task}"), theirs]
        pair = _by_subject(*pair) if task == MMLU else pair
        most = max((PERCENT, *pair[0].values(), *pair[1].values()))
        compared = compare(*pair, scale=(0.0, most), seed=seed_of(results))
        found.append(drawing.point_between(compared))
    return found


def headline_items(results: RunReader, address: str) -> Mapping[str, float]:
    """Return each item's headline metric in percent, of MMLU `acc`; {} without scores."""
    scores = results.scores(address).values()
    metric = next((s.key for s in scores if (s.detail or {}).get("headline")), "")
    found = results.items(address).get("acc" if metric == MACRO else metric)
    return found.values if found is not None else {}
