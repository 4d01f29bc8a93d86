"""AlpacaEval 2.0: raw and length-controlled win rate of each model (Table 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.document import Figure
from reports.figures.points import Point, draw_columns, point_of, sentence
from reports.formats.plotting import (
    COLOURS,
    INK,
    MARKERS,
    Series,
    are_iterations,
    legend,
    render,
    shown_name,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

    from core.records import Score
    from reports.results import RunResults

_KINDS = (
    ("win_rate", Series("raw", COLOURS[3], MARKERS[2])),
    ("length_controlled_win_rate", Series("length-controlled", COLOURS[4], MARKERS[3])),
)
_CHANCE = 50.0


def figure(results: RunResults) -> Figure | None:
    """Return both win rates with intervals across models; None without any."""
    found = {model: results.scores(f"{model}/alpaca_eval") for model in results.models}
    models = [m for m, scores in found.items() if any(point_of(scores.get(k)) for k, _ in _KINDS)]
    if not models:
        return None
    joined = are_iterations(models)
    drawn = [
        (series, [point_of(found[model].get(key)) for model in models]) for key, series in _KINDS
    ]
    names = [shown_name(model) for model in models]
    counts = [_count(found[model].get("win_rate")) for model in models]
    title = "AlpacaEval 2.0: win rate against the reference"
    said = [sentence(f"{series.name} win rate in %", names, points) for series, points in drawn]
    description = " ".join(said)
    svg = render(
        "alpaca_eval",
        lambda canvas: _draw(canvas, names, counts, drawn, joined),
        title=title,
        description=description,
        height=2.9,
    )
    return Figure("alpaca_eval", title, svg, description, "Table 1", (_NOTE,))


_NOTE = (
    "Lines are 95 % intervals. At the dashed line a model is preferred as often as the reference. "
    "In brackets: annotations without a preference, which are left out."
)


def _count(score: Score | None) -> str:
    if score is None:
        return "n = 0"
    return f"n = {score.n}" + (f" (+ {score.missing})" if score.missing else "")


def _draw(
    canvas: Canvas,
    labels: list[str],
    counts: list[str],
    drawn: list[tuple[Series, list[Point | None]]],
    joined: list[bool],
) -> None:
    axes = canvas.add_subplot()
    draw_columns(axes, labels, drawn, below=counts, joined=joined)
    axes.axhline(_CHANCE, color=INK, lw=0.8, ls=(0, (4, 3)), alpha=0.6)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("win rate, %")
    legend(canvas, axes)
