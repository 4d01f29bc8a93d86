"""Win, tie and lose of every matchup as stacked bars: the paper's Figure 3."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from reports.document import Figure, number
from reports.figures.points import point_of
from reports.formats.plotting import LOSE, ON_COLOUR, TIE, WIN, legend, render, shown_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

    from reports.results import RunResults

_ROOM_FOR_TEXT = 6.0  # percent; a narrower part of a bar has no number in it


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
        """Return the bar in words."""
        unread = f", {self.missing} {self.lacking}" if self.missing else ""
        return (
            f"{self.left} against {self.right}: {number(self.win, 1)} % won, "
            f"{number(self.tie, 1)} % tied, {number(self.lose, 1)} % lost (n = {self.n}{unread})."
        )


def figure(results: RunResults) -> Figure | None:
    """Return the bars of all matchups that have a verdict; None without any."""
    bars = [bar_of(results, "head_to_head", a, b) for a, b in results.matchups]
    return stacked(
        "head_to_head",
        "Head to head: wins, ties and losses",
        [bar for bar in bars if bar is not None],
        origin="Figure 3",
        note="Both presentation orders are judged; if they disagree the verdict is a tie. "
        "Comparisons without a readable verdict are left out of the percentages and counted as "
        "unread.",
    )


def stacked(key: str, title: str, bars: list[Bar], *, origin: str, note: str) -> Figure | None:
    """Return matchups as stacked bars; None without any."""
    if not bars:
        return None
    description = " ".join(str(bar) for bar in bars)
    svg = render(
        key,
        lambda canvas: _draw(canvas, bars),
        title=title,
        description=description,
        height=0.8 + 0.34 * len(bars),
    )
    return Figure(key, title, svg, description, origin, (note,))


def bar_of(
    results: RunResults, benchmark: str, a: str, b: str, *, lacking: str = "unread"
) -> Bar | None:
    """Return a matchup of a benchmark; None where nothing was measured."""
    found = results.scores(f"{benchmark}/{a}-{b}")
    points = [point_of(found.get(name)) for name in ("win", "tie", "lose")]
    win, tie, lose = (point.value if point is not None else None for point in points)
    if win is None or tie is None or lose is None:
        return None
    n, missing = found["win"].n, found["win"].missing
    return Bar(shown_name(a), shown_name(b), win, tie, lose, n, missing, lacking)


def _draw(canvas: Canvas, bars: list[Bar]) -> None:
    axes = canvas.add_subplot()
    kinds = (("left wins", WIN), ("tie", TIE), ("right wins", LOSE))
    starts = [0.0] * len(bars)
    for (name, colour), place in zip(kinds, ("win", "tie", "lose"), strict=True):
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
    legend(canvas, axes)
