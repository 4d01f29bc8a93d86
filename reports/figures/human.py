"""What people preferred, as stacked bars: the paper's Figure 5."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.figures.head_to_head import bar_of, stacked

if TYPE_CHECKING:
    from reports.document import Figure
    from reports.results import RunResults

_LACKING = "not judged by all"


def figure(results: RunResults) -> Figure | None:
    """Return the bars of the studies in which an item was judged by all; None without any."""
    bars = [bar_of(results, "human", a, b, lacking=_LACKING) for a, b in results.studies]
    return stacked(
        "human",
        "Human evaluation: wins, ties and losses by majority",
        [bar for bar in bars if bar is not None],
        origin="Figure 5",
        note="An item is won by the choice of more than half of the people; without a majority it "
        "is a tie.",
    )
