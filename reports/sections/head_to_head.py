"""Head to head: win, tie, lose of two models on the same prompts (Figure 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.reductions import combine_all
from core.stages import Stage, evaluation_ref
from reports.document import Figure, Item, Table, TableRow
from reports.formats.plotting import shown_name
from reports.published import comparable
from reports.published.comparable import PublishedNumbers
from reports.sections.cells import (
    P_VALUE_DIGITS,
    P_VALUE_NOTE,
    cell_of,
    failures_since,
    is_asked_for,
    listed,
    versus,
)
from reports.sections.drawing import bar_of, stacked
from reports.sections.items import NONE, Part, excerpt, group, text_or_note
from reports.sections.section import section_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.reader import RunReader
    from core.records import Generation, Verdict
    from reports.document import Cell, RowGroup

COLUMNS = ("win", "tie", "lose", "net (win − lose)", "sign test p")
_RATES = ("win", "tie", "lose")
_PERCENT = 100.0
_JUDGE_COLUMNS = {
    "readable %": ("judge/parse_rate", _PERCENT, 1),
    "flipped by order %": ("judge/flip_rate", _PERCENT, 1),
    "first shown wins %": ("judge/first_shown_rate", _PERCENT, 1),
    "tied %": ("judge/tie_rate", _PERCENT, 1),
    "longer wins": ("judge/longer_wins", 1.0, 2),
}


def table(results: RunReader) -> Table | None:
    """Return a row per matchup: win, tie and lose rate, net, and the sign test of wins and losses.

    None if the benchmark is neither configured nor scored.
    """
    asked = is_asked_for(results, "head_to_head")
    matchups = tuple(
        (a, b) for a, b in results.matchups if asked or results.scores(f"head_to_head/{a}-{b}")
    )
    if not matchups:
        return None
    beside = PublishedNumbers(results, "head_to_head", tuple(f"{a}-{b}" for a, b in matchups))
    rows = tuple(TableRow(versus(a, b), _cells(results, f"{a}-{b}", beside)) for a, b in matchups)
    places = [(f"{a} vs {b}", f"head_to_head/{a}-{b}") for a, b in matchups]
    return Table(
        key="head_to_head",
        title="Head to head: win, tie, lose (% of prompts)",
        head="matchup",
        columns=COLUMNS,
        rows=rows,
        origin="Figure 3",
        notes=(
            "Rates are those of the first model. Both presentation orders are judged; if they "
            "disagree, the verdict is a tie. Comparisons without a readable verdict are missing "
            f"and excluded from the rates. The sign test excludes ties. {P_VALUE_NOTE}",
            f"Judge: {listed(comparable.judges_named(results, 'head_to_head'))}.",
            *beside.notes,
            *failures_since(results, places),
        ),
    )


def _cells(results: RunReader, matchup: str, beside: PublishedNumbers) -> tuple[Cell, ...]:
    address = f"head_to_head/{matchup}"
    rates = [
        cell_of(results, address, key, digits=1, published=beside.published(matchup, key))
        for key in _RATES
    ]
    net = cell_of(results, address, "net", digits=1)
    return (*rates, net, cell_of(results, address, "sign_test", digits=P_VALUE_DIGITS))


def judge_table(results: RunReader) -> Table | None:
    """Return the judge's health per matchup; None if no matchup was judged."""
    judged = [(a, b) for a, b in results.matchups if results.scores(f"head_to_head/{a}-{b}")]
    if not judged:
        return None
    rows = []
    for a, b in judged:
        address = f"head_to_head/{a}-{b}"
        cells = tuple(
            cell_of(results, address, key, digits=digits, scale=scale)
            for key, scale, digits in _JUDGE_COLUMNS.values()
        )
        rows.append(TableRow(versus(a, b), cells))
    return Table(
        key="judge_of_pairs",
        title="Reliability of the pairwise judge",
        head="matchup",
        columns=tuple(_JUDGE_COLUMNS),
        rows=tuple(rows),
        notes=(
            "Flipped: the winner changes with the presentation order, which counts as a tie; 100 "
            "if only the position decides. First shown wins: 50 "
            "without position bias. Longer wins: from −1 to 1, 0 without length bias.",
        ),
    )


def figure(results: RunReader) -> Figure | None:
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


def rows(results: RunReader, a: str, b: str, most: int) -> RowGroup | None:
    """Return the comparisons of a matchup, both orders joined; None without any."""
    address = f"head_to_head/{a}-{b}"
    ref = evaluation_ref(address, Stage.VERDICTS)
    orders: dict[str, Verdict] = {row.key: row for row in results.rows(ref)}
    answers = [_answers(results, model) for model in (a, b)]
    return group(
        results,
        ref,
        f"Head to head, {shown_name(a)} against {shown_name(b)}",
        ("prompt", "verdict", f"{shown_name(a)} shown first", f"{shown_name(b)} shown first"),
        lambda verdict: _compared(verdict, orders, answers[0], answers[1]),
        most=most,
        rows=combine_all(orders),
    )


def _answers(results: RunReader, model: str) -> dict[str, Generation]:
    rows = results.rows(evaluation_ref(f"{model}/head_to_head", Stage.ANSWERS))
    return {row.prompt_key: row for row in rows}


def _compared(
    verdict: Verdict,
    orders: Mapping[str, Verdict],
    ours: Mapping[str, Generation],
    theirs: Mapping[str, Generation],
) -> Item:
    a, b = ours.get(verdict.prompt_key), theirs.get(verdict.prompt_key)
    prompt = next((answer.prompt for answer in (a, b) if answer is not None), verdict.prompt_key)
    left, right = shown_name(verdict.a), shown_name(verdict.b)
    parts = [
        ("Prompt", prompt),
        (f"{left}'s answer", text_or_note(a.text) if a is not None else "(not in this run)"),
        (f"{right}'s answer", text_or_note(b.text) if b is not None else "(not in this run)"),
    ]
    singles = []
    for order, first in (("ab", left), ("ba", right)):
        single = orders.get(f"{verdict.key}/{order}")
        singles.append(_winner(single) if single is not None else NONE)
        if single is not None:
            parts.append(_ordered_words(single, first))
    if not any(f"{verdict.key}/{order}" in orders for order in ("ab", "ba")):
        parts.append(
            ("The judge's reply", "(the judge was not called: equal answers, or one is missing)")
        )
    return Item(verdict.key, (excerpt(prompt), _winner(verdict), *singles), tuple(parts))


def _ordered_words(verdict: Verdict, first: str) -> Part:
    words = verdict.replies[0] if verdict.replies else ""
    return f"The judge's reply, {first} shown first ({_winner(verdict)})", text_or_note(words)


def _winner(verdict: Verdict) -> str:
    if verdict.winner is None:
        return f"no verdict: {verdict.unparsed}"
    if verdict.winner == "tie":
        return "tie"
    return f"{shown_name(verdict.a if verdict.winner == 'A' else verdict.b)} wins"


def all_rows(results: RunReader, most: int) -> list[RowGroup | None]:
    """Return the comparisons of every matchup."""
    return [rows(results, a, b, most) for a, b in results.matchups]


SECTION = section_of(
    "head_to_head",
    "Head to head",
    figures=(figure,),
    tables=(table, judge_table),
    rows=all_rows,
)
