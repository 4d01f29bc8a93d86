"""MT-Bench by category: the numbers of the paper's Tables 2 and 10."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.document import Figure
from reports.figures.points import Point, draw_rows, height_of, point_of, sentence
from reports.formats.plotting import Series, legend, render, series_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

    from reports.results import RunResults

_PREFIX = "category/"
_OVERALL = "overall"
# The paper's order: from the categories that gain to those that need the right result.
_CATEGORIES = (
    "writing", "roleplay", "reasoning", "math", "coding", "extraction", "stem", "humanities",
)  # fmt: skip
_LEAST, _MOST = 1.0, 10.0


def figure(results: RunResults) -> Figure | None:
    """Return overall and category scores of each model; None without any."""
    found = {model: results.scores(f"{model}/mt_bench") for model in results.models}
    models = [m for m, scores in found.items() if any(map(point_of, scores.values()))]
    if not models:
        return None
    keys = [_OVERALL, *(_PREFIX + name for name in _CATEGORIES)]
    looks = series_of(results.models)
    drawn = [(looks[m], [point_of(found[m].get(key)) for key in keys]) for m in models]
    labels = [key.removeprefix(_PREFIX) for key in keys]
    title = "MT-Bench: score by category"
    description = " ".join(sentence(series.name, labels, points) for series, points in drawn)
    svg = render(
        "mt_bench",
        lambda canvas: _draw(canvas, labels, drawn),
        title=title,
        description=description,
        height=height_of(len(labels), len(drawn)),
    )
    notes = [
        "Mean over judgments that could be read; lines are 95 % intervals, in which the two turns "
        "of a question are one observation."
    ]
    unread = [
        f"{series.name} {found[m][_OVERALL].missing} of "
        f"{found[m][_OVERALL].n + found[m][_OVERALL].missing}"
        for (series, _), m in zip(drawn, models, strict=True)
        if _OVERALL in found[m] and found[m][_OVERALL].missing
    ]
    if unread:
        notes.append(f"Judgments without a score: {', '.join(unread)}.")
    return Figure("mt_bench", title, svg, description, "Tables 2 and 10", tuple(notes))


def _draw(
    canvas: Canvas, labels: list[str], drawn: list[tuple[Series, list[Point | None]]]
) -> None:
    axes = canvas.add_subplot()
    draw_rows(axes, labels, drawn)
    axes.set_xlim(_LEAST - 0.2, _MOST + 0.2)
    axes.set_xticks(range(int(_LEAST), int(_MOST) + 1))
    axes.set_xlabel("score, 1 to 10")
    axes.get_yticklabels()[0].set_fontweight("bold")
    legend(canvas, axes)
