"""The judge of the head-to-head comparisons: does it look at the answers, or at their places?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.document import Table, TableRow
from reports.tables.cells import cell_of, label

if TYPE_CHECKING:
    from reports.results import RunResults

_PERCENT = 100.0
_COLUMNS = {
    "readable %": ("judge/parse_rate", _PERCENT, 1),
    "flipped by order %": ("judge/flip_rate", _PERCENT, 1),
    "first shown wins %": ("judge/first_shown_rate", _PERCENT, 1),
    "tied %": ("judge/tie_rate", _PERCENT, 1),
    "longer wins": ("judge/longer_wins", 1.0, 2),
}


def table(results: RunResults) -> Table | None:
    """Return the judge's health per matchup; None if no matchup was judged."""
    judged = [(a, b) for a, b in results.matchups if results.scores(f"head_to_head/{a}-{b}")]
    if not judged:
        return None
    rows = []
    for a, b in judged:
        address = f"head_to_head/{a}-{b}"
        cells = tuple(
            cell_of(results, address, key, digits=digits, scale=scale)
            for key, scale, digits in _COLUMNS.values()
        )
        rows.append(TableRow(f"{label(a)} vs {label(b)}", cells))
    return Table(
        key="judge_of_pairs",
        title="How far the judge of pairs can be trusted",
        head="matchup",
        columns=tuple(_COLUMNS),
        rows=tuple(rows),
        notes=(
            "Flipped: the two presentation orders name different winners, which makes a tie; 0 for "
            "a judge of content, 100 for one that looks at places alone. First shown wins: 50 "
            "without position bias. Longer wins: from −1 to 1, 0 without length bias.",
        ),
    )
