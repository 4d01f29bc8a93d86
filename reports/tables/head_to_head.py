"""Head to head: win, tie, lose of two models on the same prompts (Figure 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.document import Table, TableRow
from reports.published import comparable
from reports.tables.beside import Beside
from reports.tables.cells import (
    P_VALUE_DIGITS,
    P_VALUE_NOTE,
    cell_of,
    failures_since,
    is_asked_for,
    label,
    listed,
)

if TYPE_CHECKING:
    from reports.document import Cell
    from reports.results import RunResults

_RATES = ("win", "tie", "lose")


def table(results: RunResults) -> Table | None:
    """Return a row per matchup: win, tie and lose rate, net, and the sign test of wins and losses.

    None if nobody asks for head-to-head comparisons and there are none.
    """
    asked = is_asked_for(results, "head_to_head")
    matchups = tuple(
        (a, b) for a, b in results.matchups if asked or results.scores(f"head_to_head/{a}-{b}")
    )
    if not matchups:
        return None
    beside = Beside(results, "head_to_head", tuple(f"{a}-{b}" for a, b in matchups))
    rows = tuple(
        TableRow(f"{label(a)} vs {label(b)}", _cells(results, f"{a}-{b}", beside))
        for a, b in matchups
    )
    places = [(f"{a} vs {b}", f"head_to_head/{a}-{b}") for a, b in matchups]
    return Table(
        key="head_to_head",
        title="Head to head: win, tie, lose (% of prompts)",
        head="matchup",
        columns=("win", "tie", "lose", "net (win − lose)", "sign test p"),
        rows=rows,
        origin="Figure 3",
        notes=(
            "Rates from the first model's side. Both presentation orders are judged; if they "
            "disagree, the verdict is a tie. Comparisons that could not be read are missing and in "
            f"no rate. The sign test leaves ties out. {P_VALUE_NOTE}",
            f"Judge: {listed(comparable.judges_named(results, 'head_to_head'))}.",
            *beside.notes,
            *failures_since(results, places),
        ),
    )


def _cells(results: RunResults, matchup: str, beside: Beside) -> tuple[Cell, ...]:
    address = f"head_to_head/{matchup}"
    rates = [
        cell_of(results, address, key, digits=1, published=beside.published(matchup, key))
        for key in _RATES
    ]
    net = cell_of(results, address, "net", digits=1)
    return (*rates, net, cell_of(results, address, "sign_test", digits=P_VALUE_DIGITS))
