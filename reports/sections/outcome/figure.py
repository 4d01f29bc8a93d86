"""The lead figure: prompts followed, checked by code, and how well each model judges."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from reports.document import Figure
from reports.formats.plotting import COLOURS, MARKERS, Series, are_iterations, render, shown_name
from reports.sections.drawing import draw_columns, point_of, sentence
from reports.sections.outcome.subjects import (
    FOLLOWED,
    JUDGING,
    JUDGING_TRUTH,
    Measure,
    address,
    judged_iteration,
    made_models,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

    from core.reader import RunReader
    from reports.sections.drawing import Point

_WHOLE = 100.0
_CHANCE = 50.0
_TITLE = "Prompts followed, and accuracy as a judge"


class _Panel(NamedTuple):
    """One score per model; `chance`: what guessing would give, None where that is unknown."""

    title: str
    axis: str
    series: Series
    points: list[Point | None]
    chance: float | None = None


def figure(results: RunReader) -> Figure | None:
    """Return a panel for each of the two that has a number; None without any."""
    models = made_models(results)
    panels = [
        panel
        for panel in (_followed(results, models), _judging(results, models))
        if any(point is not None for point in panel.points)
    ]
    if not panels:
        return None
    names = [shown_name(model) for model in models]
    described = " ".join(sentence(panel.title, names, panel.points) for panel in panels)

    def draw(canvas: Canvas) -> None:
        for place, panel in enumerate(panels, start=1):
            _draw(canvas.add_subplot(1, len(panels), place), panel, models)

    drawn = render("outcome", draw, title=_TITLE, description=described, height=2.6)
    notes = (
        "Lines through the dots are 95 % intervals; thin lines join the iterations.",
        *(("Dashed: what guessing gives.",) if any(p.chance is not None for p in panels) else ()),
    )
    return Figure("outcome", _TITLE, drawn.svg, described, notes=notes, pdf=drawn.pdf)


def _followed(results: RunReader, models: list[str]) -> _Panel:
    points = _points(results, FOLLOWED, models)
    series = Series("", COLOURS[3], MARKERS[2])
    return _Panel("Prompts followed, checked by code", "% of prompts", series, points)


def _judging(results: RunReader, models: list[str]) -> _Panel:
    """Return how well models judge: against the truth where it is known, else against people."""
    series = Series("", COLOURS[4], MARKERS[3])
    title, points = "As a judge: right of two answers", _against_truth(results, models)
    if not any(points):
        title = "As a judge: human order of two replies"
        points = _points(results, JUDGING, models)
    return _Panel(title, "% of pairs right", series, points, _CHANCE)


def _against_truth(results: RunReader, models: list[str]) -> list[Point | None]:
    """Return each model's accuracy as the judge of the iteration after it, None without one."""
    found = []
    for model in models:
        k = judged_iteration(results, model)
        scores = results.scores(f"{JUDGING_TRUTH.benchmark}/iter{k}") if k else {}
        found.append(point_of(scores.get(JUDGING_TRUTH.key)))
    return found


def _points(results: RunReader, measure: Measure, models: list[str]) -> list[Point | None]:
    """Return a model's score, None where it has none."""
    found = (results.scores(address(measure, model)).get(measure.key) for model in models)
    return [point_of(score) for score in found]


def _draw(axes: Axes, panel: _Panel, models: list[str]) -> None:
    names = [shown_name(model) for model in models]
    drawn = [(panel.series, panel.points)]
    draw_columns(axes, names, drawn, joined=are_iterations(models))
    if panel.chance is not None:
        axes.axhline(panel.chance, color=panel.series.colour, lw=0.8, ls=(0, (4, 3)), alpha=0.6)
    axes.set_ylim(0, _WHOLE)
    axes.set_title(panel.title, fontsize=8.5)
    axes.set_ylabel(panel.axis)
