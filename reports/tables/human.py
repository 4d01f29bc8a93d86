"""Human evaluation (Figure 5): a table that says that there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports import comparable
from reports.document import Cell, Table, TableRow
from reports.published import HUMAN, HUMAN_PROMPTS, of_paper
from reports.tables.cells import label

if TYPE_CHECKING:
    from reports.results import RunResults

REASON = "no human evaluation has been collected"


def table(results: RunResults) -> Table | None:
    """Return the paper's three matchups without numbers: no stage of a run asks humans.

    The paper's numbers stand beside only if M0 is the paper's. None for a folder of imported
    results.
    """
    if results.config is None:
        return None
    refused = comparable.obstacles(results, "human")
    rows = []
    for a, b in HUMAN:
        published = [
            None if refused else of_paper("human", f"{a}-{b}", key)
            for key in ("win", "tie", "lose")
        ]
        cells = tuple(Cell(reason=REASON, digits=1, published=one) for one in published)
        rows.append(TableRow(f"{label(a)} vs {label(b)}", cells))
    return Table(
        key="human",
        title="Human evaluation: win, tie, lose (%)",
        head="matchup",
        columns=("win", "tie", "lose"),
        rows=tuple(rows),
        origin="Figure 5",
        notes=(
            f"The paper: three authors, blind, majority of three, {HUMAN_PROMPTS} prompts. "
            f"Here {REASON}.",
            *comparable.note(refused),
        ),
    )
