"""Dots with intervals and stacked bars: the two forms that most figures share."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from core.intervals import length_interval
from reports.document import Figure, number
from reports.formats.plotting import INK, LOSE, ON_COLOUR, TIE, WIN, legend, render, shown_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

    from core.paired import Comparison
    from core.reader import RunReader
    from core.records import Score
    from reports.formats.plotting import Series

    Drawn = Sequence[tuple[Series, Sequence["Point | None"]]]

_SECOND_LINE = 16.0  # points below the axis
_SPREAD = 0.62  # share of a row's height over which its models are spread
_ROOM_FOR_TEXT = 6.0  # percent; a narrower part of a bar has no number in it


class Point(NamedTuple):
    """A value with its 95 % interval (None: there is none) and the items behind it."""

    value: float
    low: float | None
    high: float | None
    n: int

    def __str__(self) -> str:
        """Return the value as a sentence says it: "12.50 (95 % interval 8.10 to 17.30, n = 80)"."""
        if self.low is None or self.high is None:
            return f"{number(self.value)} (n = {self.n})"
        ends = f"{number(self.low)} to {number(self.high)}"
        return f"{number(self.value)} (95 % interval {ends}, n = {self.n})"


def drawn_figure(
    key: str,
    title: str,
    draw: Callable[[Axes], None],
    description: str,
    *,
    height: float,
    origin: str = "",
    notes: tuple[str, ...] = (),
) -> Figure:
    """Return a figure of one plot, filled by `draw`, below its legend; `height` in inches."""

    def fill(canvas: Canvas) -> None:
        axes = canvas.add_subplot()
        draw(axes)
        legend(canvas, axes)

    drawn = render(key, fill, title=title, description=description, height=height)
    return Figure(key, title, drawn.svg, description, origin, notes, drawn.pdf)


def point_of(score: Score | None) -> Point | None:
    """Return a score as a point; None where nothing was measured."""
    if score is None or score.value is None:
        return None
    return Point(score.value, score.low, score.high, score.n)


def point_of_lengths(values: Sequence[float], clusters: Sequence[str]) -> Point | None:
    """Return a mean of lengths; values of one cluster are one observation. None without values."""
    if not values:
        return None
    low, high = length_interval(values, clusters) or (None, None)
    return Point(sum(values) / len(values), low, high, len(values))


def point_between(found: Comparison) -> Point | None:
    """Return a paired difference as a point; None where nothing could be paired."""
    if found.difference is None:
        return None
    low, high = found.interval or (None, None)
    return Point(found.difference, low, high, found.n)


def span(points: Sequence[Point | None]) -> str:
    """Return the least and most items behind points: "80", "80–120"; "0" without any."""
    sizes = sorted({p.n for p in points if p is not None}) or [0]
    return "–".join(map(str, dict.fromkeys((sizes[0], sizes[-1]))))


def draw_rows(axes: Axes, labels: Sequence[str], drawn: Drawn) -> None:
    """Draw one row per label and in it one dot per series, with its interval as a line.

    Absent points leave their place empty. The first label is at the top.
    """
    for at, (series, points) in enumerate(drawn):
        offset = _offset(at, len(drawn))
        found = [(row + offset, p) for row, p in enumerate(points) if p is not None]
        for y, point in found:
            if point.low is not None and point.high is not None:
                axes.plot([point.low, point.high], [y, y], color=series.colour, lw=1.1, alpha=0.75)
        _dots(axes, series, [p.value for _, p in found], [y for y, _ in found])
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    for row in range(1, len(labels)):
        axes.axhline(row - 0.5, color=INK, alpha=0.12, lw=0.6)


def height_of(rows: int, series: int) -> float:
    """Return the inches that `draw_rows` needs, with axis and legend."""
    return 0.85 + rows * max(0.22, 0.08 + 0.095 * series)


def draw_columns(
    axes: Axes,
    labels: Sequence[str],
    drawn: Drawn,
    *,
    below: Sequence[str] = (),
    joined: Sequence[bool] | None = None,
) -> None:
    """Draw one column per label and in it one dot per series.

    Dots of neighbouring columns that are `joined` (None: all) have a thin line between them.
    `below` are second lines of the labels.
    """
    nothing = float("nan")
    chain = joined if joined is not None else [True] * len(labels)
    for at, (series, points) in enumerate(drawn):
        offset = _offset(at, len(drawn)) * 0.5
        xs = [column + offset for column in range(len(points))]
        values = [p.value if p is not None else nothing for p in points]
        _dots(axes, series, xs, values)
        line = [value if chain[column] else nothing for column, value in enumerate(values)]
        axes.plot(xs, line, color=series.colour, lw=0.9)
        for x, point in zip(xs, points, strict=True):
            if point is not None and point.low is not None and point.high is not None:
                axes.plot([x, x], [point.low, point.high], color=series.colour, lw=1.1, alpha=0.75)
    axes.set_xticks(range(len(labels)), labels)
    axes.set_xlim(-0.5, len(labels) - 0.5)
    for column, text in enumerate(below):
        # A text of its own: the lines of one text keep the places of the font that measured them.
        axes.annotate(
            text, (column, 0), xycoords=axes.get_xaxis_transform(), xytext=(0, -_SECOND_LINE),
            textcoords="offset points", ha="center", va="top", fontsize=7.5,
        )  # fmt: skip
    axes.grid(visible=False, axis="x")


def _dots(axes: Axes, series: Series, xs: Sequence[float], ys: Sequence[float]) -> None:
    axes.plot(
        xs, ys, color=series.colour, marker=series.marker, ls="none", label=series.name,
        clip_on=False,
    )  # fmt: skip


def _offset(at: int, count: int) -> float:
    return 0.0 if count == 1 else _SPREAD * (at / (count - 1) - 0.5)


def sentence(name: str, labels: Sequence[str], points: Sequence[Point | None]) -> str:
    """Describe one series as text; labels without a point are left out."""
    wording = [f"{label} {p}" for label, p in zip(labels, points, strict=True) if p is not None]
    return f"{name}: {'; '.join(wording)}." if wording else f"{name}: nothing measured."


def sentences(labels: Sequence[str], drawn: Drawn, what: str = "") -> str:
    """Describe every series of a figure as text; `what` follows the series' names."""
    return " ".join(sentence(series.name + what, labels, points) for series, points in drawn)


class Bar(NamedTuple):
    """One matchup in percent of the comparisons that could be read."""

    left: str
    right: str
    win: float
    tie: float
    lose: float
    n: int
    missing: int
    lacking: str = "unread"

    @property
    def label(self) -> str:
        """The matchup and what it rests on."""
        unread = f" + {self.missing} {self.lacking}" if self.missing else ""
        return f"{self.left} vs {self.right} (n = {self.n}{unread})"

    def __str__(self) -> str:
        """Return the bar as a sentence."""
        unread = f", {self.missing} {self.lacking}" if self.missing else ""
        return (
            f"{self.left} against {self.right}: {number(self.win, 1)} % won, "
            f"{number(self.tie, 1)} % tied, {number(self.lose, 1)} % lost (n = {self.n}{unread})."
        )


def stacked(
    results: RunReader,
    key: str,
    title: str,
    matchups: Sequence[tuple[str, str]],
    *,
    origin: str,
    note: str,
    lacking: str = "unread",
) -> Figure | None:
    """Return a benchmark's matchups as stacked bars; None if none was measured."""
    found = [_bar_of(results, key, a, b, lacking) for a, b in matchups]
    bars = [bar for bar in found if bar is not None]
    if not bars:
        return None
    return drawn_figure(
        key,
        title,
        lambda axes: _draw_bars(axes, bars),
        " ".join(map(str, bars)),
        height=0.8 + 0.34 * len(bars),
        origin=origin,
        notes=(note,),
    )


def _bar_of(results: RunReader, benchmark: str, a: str, b: str, lacking: str) -> Bar | None:
    """Return a matchup of a benchmark; None where nothing was measured."""
    found = results.scores(f"{benchmark}/{a}-{b}")
    rates = ("win", "tie", "lose")
    win, tie, lose = (found[name].value if name in found else None for name in rates)
    if win is None or tie is None or lose is None:
        return None
    n, missing = found["win"].n, found["win"].missing
    return Bar(shown_name(a), shown_name(b), win, tie, lose, n, missing, lacking)


def _draw_bars(axes: Axes, bars: list[Bar]) -> None:
    kinds = {"left wins": WIN, "tie": TIE, "right wins": LOSE}
    starts = [0.0] * len(bars)
    for (name, colour), place in zip(kinds.items(), ("win", "tie", "lose"), strict=True):
        widths = [getattr(bar, place) for bar in bars]
        axes.barh(range(len(bars)), widths, left=starts, height=0.68, color=colour, label=name)
        for row, (start, width) in enumerate(zip(starts, widths, strict=True)):
            if width >= _ROOM_FOR_TEXT:
                middle = start + width / 2
                axes.text(middle, row, number(width, 1), color=ON_COLOUR, ha="center", va="center")
        starts = [start + width for start, width in zip(starts, widths, strict=True)]
    axes.set_yticks(range(len(bars)), [bar.label for bar in bars])
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.set_xlim(0, 100)
    axes.set_xlabel("% of comparisons")
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
