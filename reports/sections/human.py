"""Human evaluation (Figure 5): majority votes, agreement of annotators, and the judge."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from core.stages import Stage, evaluation_ref
from reports.document import Cell, Figure, Item, Link, RowGroup, Table, TableRow, number
from reports.formats.plotting import shown_name
from reports.published.comparable import PublishedNumbers, judges_named
from reports.published.published import SIZES, rows_of
from reports.sections.cells import (
    P_VALUE_NOTE,
    PERCENT,
    RATES,
    Column,
    cells_of,
    count,
    holm_note,
    label,
    listed,
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
    from core.records import ItemScore
    from core.store import Manifest

REASON = "there is no human study of this run"
_PEOPLE = {
    "people/unanimous": Column("unanimous %", 1, PERCENT),
    "people/agreement": Column("two agree %", 1, PERCENT),
    "people/alpha": Column("alpha", 3),
    "people/alpha_ordinal": Column("alpha, ordinal", 3),
    "people/left_wins": Column("shown left wins %", 1, PERCENT),
}
_JUDGE = {
    "judge/agreement": Column("agrees with majority %", 1, PERCENT),
    "chance": Column("by chance %", 1, PERCENT),
    "kappa": Column("kappa", 3),
    "judge/agreement_untied": Column("neither says tie %", 1, PERCENT),
    "judge/vote_agreement": Column("agrees with a vote %", 1, PERCENT),
    "people/agreement": Column("two people agree %", 1, PERCENT),
}
_IN_DETAIL = ("chance", "kappa")  # of the score judge/agreement


def paragraphs(results: RunReader) -> tuple[str, ...]:
    """Return a sentence per study, or how to make one; () for a folder of imported results."""
    if results.studies:
        return tuple(_study_words(results, a, b) for a, b in results.studies)
    if results.only_imported:
        return ()
    return (f"{REASON.capitalize()}: make human-eval RUN=… A=M3 B=sft N=50 ANNOTATORS=3.",)


def table(results: RunReader) -> Table | None:
    """Return a row per study; without one the paper's three matchups, with the reason.

    The paper's numbers stand beside only under its conditions. None for a folder of imported
    results without a study.
    """
    if results.only_imported and not results.studies:
        return None
    pairs = results.studies or [name.split("-") for name in rows_of("human", "win")]
    beside = PublishedNumbers(results, "human", tuple(f"{a}-{b}" for a, b in pairs))
    rows = with_holm(
        [TableRow(versus(a, b), _rates(results, a, b, beside)) for a, b in pairs],
        [*RATES].index("sign_test"),
    )
    return Table(
        key="human",
        title="Human evaluation: win, tie, lose (% of prompts, by majority)",
        head="matchup",
        columns=(*titles(RATES), "Holm's p"),
        rows=rows,
        origin="Figure 5",
        notes=(
            f"The paper: three authors, blind, majority of three, {SIZES.human_prompts} prompts.",
            "Rates are those of the first model. A majority is more than half of the people; where "
            "there is none (one for each side and one tie, or two against two) the item counts as "
            "a tie. Items not yet judged by everyone are missing and excluded from the rates. "
            f"The sign test excludes ties. {P_VALUE_NOTE}",
            *((holm_note(rows, "studies of this table"),) if results.studies else ()),
            *_made_since(results),
            *beside.notes,
        ),
    )


def _rates(results: RunReader, a: str, b: str, beside: PublishedNumbers) -> tuple[Cell, ...]:
    published = partial(beside.published, f"{a}-{b}")
    if (a, b) in results.studies:
        return cells_of(results, f"human/{a}-{b}", RATES, published)
    return tuple(
        Cell(reason=REASON, digits=column.digits, published=published(key))
        for key, column in RATES.items()
    )


def people(results: RunReader) -> Table | None:
    """Return the vote counts of each study and the agreement between annotators; None without."""
    rows = [
        TableRow(name, (*_counts(results, address), *cells_of(results, address, _PEOPLE)))
        for name, address in _with_scores(results)
    ]
    counts = ("people", "votes", "ties voted", "no majority", "three-way splits")
    if not rows:
        return None
    return Table(
        key="human_agreement",
        title="Agreement between annotators",
        head="study",
        columns=(*counts, *titles(_PEOPLE)),
        rows=tuple(rows),
        notes=(
            "Ties voted: a majority for a tie. No majority: counted as ties in the rates; of them, "
            "three-way splits have votes for each side and for a tie. Two agree: of any two votes "
            "on one item. Alpha is Krippendorff's: 1 is perfect, 0 chance, below 0 is systematic "
            "disagreement; in the ordinal alpha a tie lies between the two sides, so that "
            "opposite votes are the larger disagreement. Shown left wins: of the votes for a "
            "side; 50 without position bias. An item is one observation of the intervals.",
        ),
    )


def judge(results: RunReader) -> Table | None:
    """Return how far the head-to-head judge agrees with people on the same items; None without."""
    rows = []
    for name, address in _with_scores(results):
        cells = dict(zip(_JUDGE, cells_of(results, address, _JUDGE), strict=True))
        cells |= {one: _detail(results, address, one) for one in _IN_DETAIL}
        rows.append(TableRow(name, tuple(cells.values())))
    if not rows:
        return None
    return Table(
        key="human_judge",
        title="Agreement of the head-to-head judge with people, on the same items",
        head="study",
        columns=titles(_JUDGE),
        rows=tuple(rows),
        notes=(
            "Items that both have judged, on the same answers; win, tie and lose must be equal. "
            "By chance: expected agreement of independent votes with the same frequencies. Kappa: "
            "agreement beyond chance, 1 is perfect. Neither says tie: on items with a winner for "
            "both. The last two columns are the same measure: judge against a single vote, and "
            "person against person.",
            f"Judge: {listed(judges_named(results, 'head_to_head'))}.",
        ),
    )


def _with_scores(results: RunReader) -> list[tuple[str, str]]:
    """Return the name and address of each study with scores."""
    places = [(versus(a, b), f"human/{a}-{b}") for a, b in results.studies]
    return [(name, address) for name, address in places if results.scores(address)]


def _study_words(results: RunReader, a: str, b: str) -> str:
    """Return a summary of a study's result."""
    name, address = f"{label(a)} against {label(b)}", f"human/{a}-{b}"
    scores, manifest = results.scores(address), _items(results, address)
    if not scores or manifest is None:
        return f"{name}: {results.why_absent(address) or 'no results'}."
    who = len(manifest.facts["annotators"])
    wording = (
        f"{name}: {who} {'person' if who == 1 else 'people'}, blind, {manifest.counts['votes']} "
        f"votes; {manifest.counts['complete']} of {manifest.rows} items are judged by all."
    )
    if left_out := manifest.facts["left_out"]:
        wording += f" Left out: {', '.join(left_out)}."
    ties = scores["tie"].detail or {}
    if several := ties.get("no_majority"):
        wording += f" Without a majority, and counted as ties: {several}"
        wording += f" (three-way splits: {ties['three_way']})."
    return wording


def _counts(results: RunReader, address: str) -> list[Cell]:
    manifest = _items(results, address)
    tie = results.scores(address)["tie"]
    voted = [len(manifest.facts["annotators"]), manifest.counts["votes"]] if manifest else []
    cells = [count(number, address) for number in voted] or [Cell(), Cell()]
    if tie.detail is None:
        return [*cells, *(Cell(reason=tie.reason or "nothing to measure") for _ in range(3))]
    ties = [tie.detail[name] for name in ("voted", "no_majority", "three_way")]
    return [*cells, *(replace(count(number, address), n=tie.n) for number in ties)]


def _detail(results: RunReader, address: str, name: str) -> Cell:
    """Return what stands in the detail of the judge's agreement."""
    score, (_, digits, scale) = results.scores(address)["judge/agreement"], _JUDGE[name]
    if score.value is None or score.detail is None:
        return Cell(reason=score.reason or "nothing to measure", rows=address)
    value = score.detail[name]
    if value is None:
        return Cell(reason="chance alone agrees always", n=score.n, rows=address)
    return Cell(scale * float(value), digits=digits, n=score.n, missing=score.missing, rows=address)


def _items(results: RunReader, address: str) -> Manifest | None:
    return results.known_manifest(evaluation_ref(address, Stage.ITEMS))


def _made_since(results: RunReader) -> list[str]:
    """Return which models have new answers since people judged them."""
    notes = []
    for a, b in results.studies:
        manifest = _items(results, f"human/{a}-{b}")
        shown: dict[str, str] = manifest.facts["answers"] if manifest else {}
        refs = {name: evaluation_ref(f"{name}/head_to_head", Stage.ANSWERS) for name in (a, b)}
        changed = [
            label(name)
            for name, ref in refs.items()
            if str(ref) in shown
            and (not results.exists(ref) or results.manifest(ref).sha256 != shown[str(ref)])
        ]
        if changed:
            notes.append(
                f"{versus(a, b)}: the answers of {listed(changed)} in this run are no "
                "longer those that people judged; those are kept in the study."
            )
    return notes


def figure(results: RunReader) -> Figure | None:
    """Return the bars of the studies in which an item was judged by all; None without any."""
    return stacked(
        results,
        "human",
        "Human evaluation: wins, ties and losses by majority",
        results.studies,
        lacking="not judged by all",
        origin="Figure 5",
        note="An item is won by the choice of more than half of the people; without a majority it "
        "is a tie.",
    )


def rows(results: RunReader, a: str, b: str, most: int) -> RowGroup | None:
    """Return the items of a study; None if its results have not been made."""
    address = f"human/{a}-{b}"
    ref = evaluation_ref(address, Stage.ITEMS)
    names = {"A": shown_name(a), "B": shown_name(b)}
    compared = next(
        (f"head_to_head/{pair}" for pair in (f"{a}-{b}", f"{b}-{a}")
         if results.exists(evaluation_ref(f"head_to_head/{pair}", Stage.VERDICTS))),
        None,
    )  # fmt: skip
    return group(
        results,
        ref,
        f"Human evaluation, {names['A']} against {names['B']}",
        ("prompt", "majority", f"votes for {names['A']}", "for a tie", f"for {names['B']}"),
        lambda row: _judged(row, names, compared),
        most=most,
    )


def _judged(row: ItemScore, names: Mapping[str, str], compared: str | None) -> Item:
    cast: list[dict[str, Any]] = row.detail["votes"]
    ours, theirs = row.detail["answers"]
    counts = [str(sum(vote["choice"] == side for vote in cast)) for side in ("A", "tie", "B")]
    parts = [
        ("Prompt", row.item),
        (f"{names['A']}'s answer", text_or_note(ours)),
        (f"{names['B']}'s answer", text_or_note(theirs)),
    ]
    for vote in cast:
        choice, left = names.get(vote["choice"], "tie"), names[vote["left"]]
        head = f"{choice} ({left} on the left, {number(vote['seconds'], 1)} s)"
        parts.append((f"{vote['annotator']}: {head}", vote["comment"] or "(no comment)"))
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


SECTION = section_of(
    "human",
    "Human evaluation",
    paragraphs=paragraphs,
    figures=(figure,),
    tables=(table, people, judge),
    rows=lambda results, most: [rows(results, a, b, most) for a, b in results.studies],
)
