"""Length of the models' answers, with the mean lengths that the paper reports."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from core.records import ANSWERED
from core.stages import Stage, evaluation_ref
from reports.document import Cell, Figure, Table, TableRow
from reports.formats.plotting import COLOURS, MARKERS, Series, are_iterations, shown_name
from reports.published.comparable import PublishedNumbers
from reports.sections import drawing
from reports.sections.cells import (
    GRADED,
    Column,
    asked_models,
    cells_of,
    label,
    models_of,
    titles,
)
from reports.sections.section import section_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes

    from core.reader import RunReader
    from core.records import Generation

_UNIT = ("The paper does not state the unit of its lengths; characters are inferred.",)
_COLUMNS = {
    "avg_length": Column("AlpacaEval prompts", 0),
    "avg_length_reference": Column("AlpacaEval's reference", 0),
}
_ANSWERED = ("finish_stop", "finish_length")
_CUT = {
    "finish_length": "were cut by the token limit",
    "thinking_removed": "came after a thought, which is no part of them",
    "finish_cut_off": "are missing, because the token limit cut the thought before them",
}
_BENCHMARKS = {
    "alpaca_eval": Series("AlpacaEval", COLOURS[3], MARKERS[2]),
    "head_to_head": Series("head-to-head prompts", COLOURS[4], MARKERS[3]),
    **{f.name: Series(f"{f.title} turns", COLOURS[2], MARKERS[1]) for f in GRADED},
}


def table(results: RunReader) -> Table | None:
    """Return a row per model: mean characters of its head-to-head and its AlpacaEval answers.

    None if neither benchmark is configured and there are no answers.
    """
    with_answers = [
        m
        for m in results.models
        if results.exists(evaluation_ref(f"{m}/head_to_head", Stage.ANSWERS))
    ]
    expected = asked_models(results, "head_to_head")
    wanted = {*with_answers, *expected, *models_of(results, "alpaca_eval")}
    models = [model for model in results.models if model in wanted]
    if not models:
        return None
    beside = PublishedNumbers(results, "lengths", tuple(models))
    has_answers = bool(with_answers or expected)

    def cells(model: str) -> tuple[Cell, ...]:
        first = (_head_to_head(results, model),) if has_answers else ()
        published = partial(beside.published, model)
        return (*first, *cells_of(results, f"{model}/alpaca_eval", _COLUMNS, published))

    return Table(
        key="lengths",
        title="Mean length of answers (characters)",
        head="model",
        columns=(*(("head-to-head prompts",) if has_answers else ()), *titles(_COLUMNS)),
        rows=tuple(TableRow(label(model), cells(model)) for model in models),
        notes=(
            "Prompts too long to be answered are missing.",
            *_cut(results, models),
            *(_UNIT if not beside.own else ()),
            *beside.notes,
        ),
    )


def _head_to_head(results: RunReader, model: str) -> Cell:
    ref = evaluation_ref(f"{model}/head_to_head", Stage.ANSWERS)
    manifest = results.known_manifest(ref)
    if manifest is None:
        return Cell(reason=results.why_absent(ref.address) or "no answers")
    n = sum(manifest.counts.get(name, 0) for name in _ANSWERED)
    missing = (manifest.rows or 0) - n
    mean = manifest.facts.get("mean_characters")
    if mean is None:
        return Cell(reason="no prompt was answered", n=n, missing=missing)
    return Cell(value=float(mean), digits=0, n=n, missing=missing)


def _cut(results: RunReader, models: list[str]) -> Iterator[str]:
    """Yield which share of the answers the token limit truncated, and how many had a thought."""
    for benchmark, title in (("head_to_head", "Head-to-head"), ("alpaca_eval", "AlpacaEval")):
        refs = {model: evaluation_ref(f"{model}/{benchmark}", Stage.ANSWERS) for model in models}
        found = {m: made for m, ref in refs.items() if (made := results.known_manifest(ref))}
        for name, what in _CUT.items():
            shares = [
                f"{label(model)} {100 * manifest.counts[name] / manifest.rows:.0f} %"
                for model, manifest in found.items()
                if manifest.rows and manifest.counts.get(name)
            ]
            if shares:
                yield f"{title} answers that {what}: {', '.join(shares)}."


def figure(results: RunReader) -> Figure | None:
    """Return mean characters of the answers to each benchmark, per model; None without answers."""
    found = {
        series: [mean_characters(results, model, name) for model in results.models]
        for name, series in _BENCHMARKS.items()
    }
    drawn = [(series, points) for series, points in found.items() if any(points)]
    if not drawn:
        return None
    kept = [at for at in range(len(results.models)) if any(points[at] for _, points in drawn)]
    drawn = [(series, [points[at] for at in kept]) for series, points in drawn]
    models = [results.models[at] for at in kept]
    names = [shown_name(model) for model in models]

    def draw(axes: Axes) -> None:
        drawing.draw_columns(axes, names, drawn, joined=are_iterations(models))
        axes.set_ylim(bottom=0)
        axes.set_ylabel("mean characters")

    return drawing.drawn_figure(
        "answer_lengths",
        "Length of the answers",
        draw,
        f"Mean characters per answer. {drawing.sentences(names, drawn, ', characters')}",
        height=2.7,
        origin="Table 1",
        notes=(
            "Mean characters; lines are 95 % intervals. Answers cut by evaluation.generation's "
            "token limit count with the length they were cut to.",
        ),
    )


def mean_characters(results: RunReader, model: str, benchmark: str) -> drawing.Point | None:
    """Return the mean length of a model's answers to one benchmark.

    Two turns of a prompt are one observation. Imported AlpacaEval
    annotations come without answers of their own: then the score stands in, without an interval.
    """
    rows = results.rows(evaluation_ref(f"{model}/{benchmark}", Stage.ANSWERS))
    answers: list[Generation] = [row for row in rows if row.finish in ANSWERED]
    if not answers:
        return drawing.point_of(results.scores(f"{model}/{benchmark}").get("avg_length"))
    lengths = [float(len(row.text)) for row in answers]
    keys = [row.prompt_key for row in answers]
    return drawing.point_of_lengths(lengths, keys)


SECTION = section_of("lengths", "Answer lengths", figures=(figure,), tables=(table,))
