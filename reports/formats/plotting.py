"""The one place that configures matplotlib: figures as SVG text that any page can hold, and as PDF.

Text stays text, so that a reader can select it and a page's font applies; ink is `currentColor`, so
that a figure reads on a light and on a dark page; same data, same bytes.
"""

from __future__ import annotations

import io
import itertools
import re
import warnings
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

WIDTH = 6.4  # inches; one is 72 units of the SVG and 96 pixels of a page
FONT = "system-ui, 'Segoe UI', Helvetica, Arial, sans-serif"
INK = "#0a0b0c"  # stands for the page's own text colour until the SVG is finished
ON_COLOUR = "#ffffff"
# Okabe and Ito's colours, darkened where they would be too pale on white: each has a contrast of
# at least 3 with white and with a dark page. No two rely on colour alone: see `Series.marker`.
COLOURS = ("#757575", "#c0609a", "#009e73", "#0072b2", "#d55e00", "#a07800", "#8a63d2")
MARKERS = ("s", "D", "o", "^", "v", "P", "X")
# Three that carry white text as well (contrast of at least 4.5).
WIN, TIE, LOSE = "#0072b2", "#6f6f6f", "#b84f00"

_PLACES = {"M0": 0, "sft": 1} | {f"M{k}": k + 1 for k in range(1, len(COLOURS) - 1)}
_PIXELS_PER_UNIT = 96 / 72
_TAG = re.compile(r"<[^<>]*>")
_ID = re.compile(r'(?<=[ \n])id="([^"]*)"')
_REFERENCE = re.compile(r'(url\(#|href="#)')
_FAMILY = re.compile(r"font-family: [^;\"]*")
_STYLE = re.compile(r"\s*<defs>\s*<style[^<>]*>[^<>]*</style>\s*</defs>")
_ROOT = re.compile(r"<svg[^<>]*>")
_VIEW = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')
# What XML 1.0 cannot hold, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_UNDATED = dict.fromkeys(("CreationDate", "Creator", "Producer"))  # of PDF: same data, same bytes
_STYLE_FILE = Path(__file__).parent / "figures.mplstyle"


class Series(NamedTuple):
    """How one model looks in every figure."""

    name: str
    colour: str
    marker: str


class Drawing(NamedTuple):
    """A figure as an `<svg>` element, and as the bytes of a PDF file for LaTeX."""

    svg: str
    pdf: bytes


def series_of(models: Sequence[str]) -> dict[str, Series]:
    """Return a look for each model, in every figure the same: colour and marker tell it apart.

    M0, SFT, M1, M2, ... have their own places; others take those that are left, in their order.
    """
    places = {name: _PLACES[name] for name in models if name in _PLACES}
    free = (at for at in itertools.count() if at not in places.values())
    places |= {name: next(free) for name in models if name not in places}
    return {
        name: Series(shown_name(name), COLOURS[at % len(COLOURS)], MARKERS[at % len(MARKERS)])
        for name, at in places.items()
    }


def are_iterations(models: Sequence[str]) -> list[bool]:
    """Return which models are iterations of training, M1 and later: only those form a sequence."""
    return [name[:1] == "M" and name[1:].isdecimal() and name != "M0" for name in models]


def shown_name(model: str) -> str:
    """Return a model's name as tables and figures print it."""
    return "SFT" if model == "sft" else model


def render(
    key: str,
    draw: Callable[[Canvas], None],
    *,
    title: str,
    description: str,
    height: float,
) -> Drawing:
    """Return a figure as an `<svg>` element and as PDF; same drawing, same bytes.

    The background is transparent. Ids begin with `key`, so that several figures fit on one page.
    Title and description are what a screen reader says. Whatever words `draw` writes are escaped;
    characters that XML cannot hold become U+FFFD.

    `draw` fills an empty canvas; it may use everything of matplotlib except pyplot. `height` is in
    inches; text has about 9 points.

    Raises:
        ValueError: the key has characters other than letters, digits, "_" and "-".
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]+", key):
        raise ValueError(f"figure key {key!r}: expected letters, digits, _ and -")
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Canvas

    out, pdf = io.StringIO(), io.BytesIO()
    with mpl.rc_context(), warnings.catch_warnings():
        # The layout font need not have every character: the page's font draws them.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        mpl.rcdefaults()
        mpl.rcParams.update(mpl.rc_params_from_file(_STYLE_FILE, use_default_template=False))
        mpl.rcParams["svg.hashsalt"] = key
        canvas = Canvas(figsize=(WIDTH, height), layout="constrained")
        FigureCanvasSVG(canvas)
        draw(canvas)
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        canvas.savefig(out, format="svg", metadata=nothing)
        canvas.savefig(pdf, format="pdf", metadata=_UNDATED)
    return Drawing(_embeddable(out.getvalue(), key, title, description), pdf.getvalue())


def _embeddable(svg: str, key: str, title: str, description: str) -> str:
    """Make matplotlib's document an element that can stand, with others, inside a page."""
    svg = _NOT_XML.sub("\ufffd", svg[svg.index("<svg") :])
    svg = _STYLE.sub("", svg, count=1)  # it would apply to the whole page
    root = _ROOT.search(svg)
    size = _VIEW.search(root[0]) if root else None
    if root is None or size is None:
        raise ValueError("matplotlib's SVG has no root with a viewBox: it changed its format")
    inside = _TAG.sub(lambda tag: _own_tag(tag[0], key), svg[root.end() :])
    width, height = (round(float(number) * _PIXELS_PER_UNIT) for number in size.groups())
    opening = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{width}" height="{height}" {size[0]} role="img" aria-label="{_plain(title)}" '
        'style="max-width: 100%; height: auto" stroke-linejoin="round" stroke-linecap="butt">'
        f"\n <desc>{_plain(description)}</desc>"
    )
    return opening + inside.rstrip() + "\n"


def _own_tag(tag: str, key: str) -> str:
    """Give a tag ids of its own, the page's ink and the page's font.

    Only tags are touched: in text, angle brackets are escaped, so nothing in it looks like one.
    """
    tag = _ID.sub(lambda found: f'id="{key}-{found[1]}"', tag)
    tag = _REFERENCE.sub(lambda found: f"{found[1]}{key}-", tag)
    return _FAMILY.sub(f"font-family: {FONT}", tag.replace(INK, "currentColor"))


def _plain(text: str) -> str:
    return escape(_NOT_XML.sub("\ufffd", text))


def legend(canvas: Canvas, axes: Axes) -> None:
    """Put the legend of `axes` above the whole figure."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        canvas.legend(
            handles,
            labels,
            loc="outside upper left",
            ncols=min(7, len(handles)),
            handletextpad=0.4,
            columnspacing=1.2,
            borderaxespad=0.2,
        )
