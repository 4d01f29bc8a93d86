"""Length of the models' answers: does training on one's own judgments make them longer?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.intervals import bootstrap_mean
from core.stages import Stage, evaluation_ref
from reports.document import Figure
from reports.figures.points import Point, draw_columns, point_of, sentence
from reports.formats.plotting import (
    COLOURS,
    MARKERS,
    Series,
    are_iterations,
    legend,
    render,
    shown_name,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

    from core.records import Generation
    from reports.results import RunResults

_BENCHMARKS = {
    "alpaca_eval": Series("AlpacaEval", COLOURS[3], MARKERS[2]),
    "head_to_head": Series("head-to-head prompts", COLOURS[4], MARKERS[3]),
    "mt_bench": Series("MT-Bench turns", COLOURS[2], MARKERS[1]),
}
_UNASKED = ("too_long", "not_asked", "failed")


def figure(results: RunResults) -> Figure | None:
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
    names, joined = [shown_name(model) for model in models], are_iterations(models)
    title = "Length of the answers"
    said = [sentence(f"{series.name}, characters", names, points) for series, points in drawn]
    description = "Mean characters per answer. " + " ".join(said)
    svg = render(
        "answer_lengths",
        lambda canvas: _draw(canvas, names, drawn, joined),
        title=title,
        description=description,
        height=2.7,
    )
    notes = (
        "Mean characters; lines are 95 % intervals. Answers cut by evaluation.generation's token "
        "limit count with the length they were cut to.",
    )
    return Figure("answer_lengths", title, svg, description, "Table 1", notes)


def mean_characters(results: RunResults, model: str, benchmark: str) -> Point | None:
    """Return the mean length of a model's answers to one benchmark.

    The interval resamples prompts, so that two turns are one observation. Imported AlpacaEval
    annotations come without answers of their own: then the score stands in, without an interval.
    """
    rows = results.rows(evaluation_ref(f"{model}/{benchmark}", Stage.ANSWERS))
    answers: list[Generation] = [row for row in rows if row.finish not in _UNASKED]
    if not answers:
        return point_of(results.scores(f"{model}/{benchmark}").get("avg_length"))
    lengths = [float(len(row.text)) for row in answers]
    seed = results.config.seed if results.config is not None else 0
    low, high = bootstrap_mean(lengths, [r.prompt_key for r in answers], seed=seed) or (None, None)
    return Point(sum(lengths) / len(lengths), low, high, len(lengths))


def _draw(
    canvas: Canvas,
    labels: list[str],
    drawn: list[tuple[Series, list[Point | None]]],
    joined: list[bool],
) -> None:
    axes = canvas.add_subplot()
    draw_columns(axes, labels, drawn, joined=joined)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("mean characters")
    legend(canvas, axes)
