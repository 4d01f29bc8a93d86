"""Head to head: win, tie, lose of two models on the same prompts (Figure 3)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from core.reductions import combine_all
from core.stages import Stage, evaluation_ref
from reports.document import Figure, Item, RowGroup, Table, TableRow
from reports.formats.plotting import shown_name
from reports.published.comparable import PublishedNumbers, judge_notes, judges_named
from reports.published.condition_differences import judged
from reports.sections.cells import (
    P_VALUE_NOTE,
    PERCENT,
    RATES,
    Column,
    asked_models,
    cells_of,
    failures_since,
    holm_note,
    listed,
    noise_note,
    titles,
    versus,
    with_holm,
)
from reports.sections.drawing import stacked
from reports.sections.items import NONE, excerpt, group, text_or_note
from reports.sections.section import section_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.reader import RunReader
    from core.records import Generation, Verdict

_JUDGE_COLUMNS = {
    "judge/parse_rate": Column("readable %", 1, PERCENT),
    "judge/verdict_mass": Column("verdict tokens %", 1, PERCENT),
    "judge/flip_rate": Column("flipped by order %", 1, PERCENT),
    "judge/first_shown_rate": Column("first shown wins %", 1, PERCENT),
    "judge/tie_rate": Column("tied %", 1, PERCENT),
    "judge/longer_wins": Column("longer wins"),
}


def table(results: RunReader) -> Table | None:
    """Return a row per matchup: win, tie and lose rate, net, and the sign test of wins and losses.

    None if the benchmark is neither configured nor scored.
    """
    asked = asked_models(results, "head_to_head")
    matchups = tuple(
        (a, b) for a, b in results.matchups if asked or results.scores(f"head_to_head/{a}-{b}")
    )
    if not matchups:
        return None
    beside = PublishedNumbers(results, "head_to_head", tuple(f"{a}-{b}" for a, b in matchups))
    places = [(f"{a} vs {b}", f"head_to_head/{a}-{b}") for a, b in matchups]
    rows = tuple(
        TableRow(
            versus(a, b), cells_of(results, place, RATES, partial(beside.published, f"{a}-{b}"))
        )
        for (a, b), (_, place) in zip(matchups, places, strict=True)
    )
    rows = with_holm(rows, [*RATES].index("sign_test"))
    return Table(
        key="head_to_head",
        title="Head to head: win, tie, lose (% of prompts)",
        head="matchup",
        columns=(*titles(RATES), "Holm's p"),
        rows=rows,
        origin="Figure 3",
        notes=(
            "Rates are those of the first model. Both presentation orders are judged; if they "
            "disagree, the verdict is a tie. Comparisons without a readable verdict are missing "
            f"and excluded from the rates. The sign test excludes ties. {P_VALUE_NOTE}",
            holm_note(rows, "matchups of this table"),
            noise_note(None, "The judge's"),
            f"Judge: {listed(judges_named(results, 'head_to_head'))}.",
            *judge_notes(judged(results, "head_to_head")),
            *beside.notes,
            *failures_since(results, places),
        ),
    )


def judge_table(results: RunReader) -> Table | None:
    """Return the judge's health per matchup; None if no matchup was judged."""
    played = [(a, b) for a, b in results.matchups if results.scores(f"head_to_head/{a}-{b}")]
    if not played:
        return None
    rows = [
        TableRow(versus(a, b), cells_of(results, f"head_to_head/{a}-{b}", _JUDGE_COLUMNS))
        for a, b in played
    ]
    return Table(
        key="judge_of_pairs",
        title="Reliability of the pairwise judge",
        head="matchup",
        columns=titles(_JUDGE_COLUMNS),
        rows=tuple(rows),
        notes=(
            "Verdict tokens: of verdicts by first token, the mean probability of the two tokens; "
            "below 50 a reply is no verdict. "
            "Flipped: the winner changes with the presentation order, which counts as a tie; 100 "
            "if only the position decides. First shown wins: 50 "
            "without position bias. Longer wins: from −1 to 1, 0 without length bias.",
        ),
    )


def figure(results: RunReader) -> Figure | None:
    """Return the bars of all matchups that have a verdict; None without any."""
    return stacked(
        results,
        "head_to_head",
        "Head to head: wins, ties and losses",
        results.matchups,
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
    refs = (evaluation_ref(f"{model}/head_to_head", Stage.ANSWERS) for model in (a, b))
    ours, theirs = ({row.prompt_key: row for row in results.rows(one)} for one in refs)
    return group(
        results,
        ref,
        f"Head to head, {shown_name(a)} against {shown_name(b)}",
        ("prompt", "verdict", f"{shown_name(a)} shown first", f"{shown_name(b)} shown first"),
        lambda verdict: _compared(verdict, orders, ours, theirs),
        most=most,
        rows=combine_all(orders),
    )


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
            reply = text_or_note(single.replies[0] if single.replies else "")
            parts.append((f"The judge's reply, {first} shown first ({singles[-1]})", reply))
    if singles == [NONE, NONE]:
        parts.append(
            ("The judge's reply", "(the judge was not called: equal answers, or one is missing)")
        )
    return Item(verdict.key, (excerpt(prompt), _winner(verdict), *singles), tuple(parts))


def _winner(verdict: Verdict) -> str:
    if verdict.winner is None:
        return f"no verdict: {verdict.unparsed}"
    if verdict.winner == "tie":
        return "tie"
    return f"{shown_name(verdict.a if verdict.winner == 'A' else verdict.b)} wins"


SECTION = section_of(
    "head_to_head",
    "Head to head",
    figures=(figure,),
    tables=(table, judge_table),
    rows=lambda results, most: [rows(results, a, b, most) for a, b in results.matchups],
)
