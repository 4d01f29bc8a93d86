"""AlpacaEval's win rate by kind of instruction: the paper's Figures 4 and 11."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from reports.document import Figure
from reports.figures.points import (
    Point,
    draw_columns,
    draw_rows,
    height_of,
    point_of,
    sentence,
)
from reports.formats.plotting import Series, legend, render, series_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

    from reports.results import RunResults

Kind = Literal["category", "complexity", "length"]
_MOST_COLUMNS = 7
_UNTAGGED = "untagged"  # annotations whose tag could not be read; they come last
# The tagging prompt's answers, from short to long.
_LENGTHS = ("1 sentence", "1-3 sentences", "1 paragraph", "2 paragraphs", "3 or more paragraphs")


class _Look(NamedTuple):
    title: str
    origin: str
    head: str


_LOOKS: dict[Kind, _Look] = {
    "category": _Look("AlpacaEval: win rate by category", "Figure 4", "category"),
    "complexity": _Look(
        "AlpacaEval: win rate by complexity of the instruction", "Figure 11", "complexity"
    ),
    "length": _Look(
        "AlpacaEval: win rate by expected length of the answer", "Figure 11", "expected length"
    ),
}


def figure(results: RunResults, kind: Kind) -> Figure | None:
    """Return the win rate of each group and model; None unless instructions were tagged."""
    prefix = f"win_rate/{kind}/"
    found = {model: results.scores(f"{model}/alpaca_eval") for model in results.models}
    models = [m for m, scores in found.items() if any(key.startswith(prefix) for key in scores)]
    groups = _groups([key for m in models for key in found[m] if key.startswith(prefix)], kind)
    if not groups:
        return None
    looks = series_of(results.models)
    drawn = [
        (looks[m], [point_of(found[m].get(prefix + group)) for group in groups]) for m in models
    ]
    sizes = [_size(points) for points in zip(*(points for _, points in drawn), strict=True)]
    look = _LOOKS[kind]
    description = " ".join(sentence(series.name, groups, points) for series, points in drawn)
    across = kind != "category" and len(groups) <= _MOST_COLUMNS
    svg = render(
        f"alpaca_eval_{kind}",
        lambda canvas: _draw(canvas, groups, sizes, drawn, look.head if across else ""),
        title=look.title,
        description=description,
        height=2.9 if across else height_of(len(groups), len(drawn)),
    )
    notes = ("n: annotations behind each value. Lines are 95 % intervals.",)
    return Figure(f"alpaca_eval_{kind}", look.title, svg, description, look.origin, notes)


def _groups(keys: list[str], kind: Kind) -> list[str]:
    """Return the groups of all models by name, lengths from short to long, untagged last."""
    names = {key.split("/", 2)[2] for key in keys}
    return sorted(names, key=lambda name: _place(name, kind))


def _place(name: str, kind: Kind) -> tuple[bool, int, str]:
    rank = 0
    if kind == "length":
        rank = _LENGTHS.index(name) if name in _LENGTHS else len(_LENGTHS)
    return name == _UNTAGGED, rank, name


def _size(points: tuple[Point | None, ...]) -> str:
    sizes = sorted({p.n for p in points if p is not None})
    return f"{sizes[0]}–{sizes[-1]}" if len(sizes) > 1 else f"{sizes[0]}" if sizes else "0"


def _draw(
    canvas: Canvas,
    groups: list[str],
    sizes: list[str],
    drawn: list[tuple[Series, list[Point | None]]],
    across: str,
) -> None:
    """Draw groups as columns under the heading `across`, or (empty) as rows."""
    axes = canvas.add_subplot()
    if across:
        draw_columns(axes, groups, drawn, below=[f"n = {size}" for size in sizes])
        axes.set_xlabel(across, labelpad=14)
        axes.set_ylabel("win rate, %")
        axes.set_ylim(bottom=0)
    else:
        draw_rows(axes, [f"{g} ({n})" for g, n in zip(groups, sizes, strict=True)], drawn)
        axes.set_xlabel("win rate, %")
        axes.set_xlim(left=0)
    legend(canvas, axes)
