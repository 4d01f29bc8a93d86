"""The rows of a human study: each item with its majority and every vote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.stages import Stage, evaluation_ref
from reports.document import Item, Link, number
from reports.formats.plotting import shown_name
from reports.rows.texts import NONE, excerpt, group, said

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.records import ItemScore
    from reports.document import RowGroup
    from reports.results import RunResults


def votes(results: RunResults, a: str, b: str, most: int) -> RowGroup | None:
    """Return the items of a study; None if its results have not been made."""
    address = f"human/{a}-{b}"
    ref = evaluation_ref(address, Stage.ITEMS)
    if not results.exists(ref):
        return None
    names = {"A": shown_name(a), "B": shown_name(b)}
    compared = next(
        (f"head_to_head/{pair}" for pair in (f"{a}-{b}", f"{b}-{a}")
         if results.exists(evaluation_ref(f"head_to_head/{pair}", Stage.VERDICTS))),
        None,
    )  # fmt: skip
    return group(
        address,
        f"Human evaluation, {names['A']} against {names['B']}",
        ("prompt", "majority", f"votes for {names['A']}", "for a tie", f"for {names['B']}"),
        results.rows(ref),
        lambda row: _judged(row, names, compared),
        most=most,
        artifact=ref,
    )


def _judged(row: ItemScore, names: Mapping[str, str], compared: str | None) -> Item:
    cast: list[dict[str, Any]] = row.detail["votes"]
    ours, theirs = row.detail["answers"]
    counts = [str(sum(vote["choice"] == side for vote in cast)) for side in ("A", "tie", "B")]
    parts = [
        ("Prompt", row.item),
        (f"{names['A']}'s answer", said(ours)),
        (f"{names['B']}'s answer", said(theirs)),
        *((_heading(vote, names), _comment(vote)) for vote in cast),
    ]
    links = [Link("The judge on the same prompt", compared, row.key)] if compared else []
    cells = (excerpt(row.item), _majority(row, names), *counts)
    return Item(row.key, cells, tuple(parts), tuple(links))


def _majority(row: ItemScore, names: Mapping[str, str]) -> str:
    choice = row.detail["majority"]
    if choice is None:
        return f"{NONE} ({len(row.detail['votes'])} of {row.detail['wanted']} votes)"
    if row.detail["split"]:
        return "tie (no majority)"
    return "tie" if choice == "tie" else f"{names[choice]} wins"


def _heading(vote: Mapping[str, Any], names: Mapping[str, str]) -> str:
    choice = "tie" if vote["choice"] == "tie" else names[vote["choice"]]
    where = f"{names[vote['left']]} on the left"
    return f"{vote['annotator']}: {choice} ({where}, {number(vote['seconds'], 1)} s)"


def _comment(vote: Mapping[str, Any]) -> str:
    return vote["comment"] if vote["comment"] else "(no comment)"
