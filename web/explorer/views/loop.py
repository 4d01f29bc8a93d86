"""Views of an iteration: its prompts, its judgments, and what became of each prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from core.stages import Ref, Stage
from web.explorer import pages as ui
from web.explorer.views.view import order, show

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.records import Judgment, LedgerRow, Prompt
    from web.explorer.source import RowsOnPage, Source

PROMPT_ORDER = order(longest="longest first")
JUDGMENT_ORDER = order(
    longest="longest reply first", highest="highest score first", lowest="lowest score first"
)
JUDGMENT_SHOW = show(all="every reply", disagreement="answers whose replies disagree")
PAIR_ORDER = order(
    gap="largest gap first", closest="smallest gap first", longest="longest answer first"
)


def crumbs(k: int) -> tuple[ui.Link, ...]:
    """Return the way from the run to an iteration."""
    return (ui.RUN, ui.Link(f"Iteration {k}", ui.link(f"/iteration/{k}")))


def prompt_link(k: int, key: str, answer: str = "") -> str:
    """Return the address of a prompt's page, at one of its candidates if that is named."""
    at = f"#{quote(answer, errors='replace')}" if answer else ""
    return ui.link(f"/iteration/{k}/prompt", key=key) + at


def _listing(
    query: ui.Query,
    what: str,
    columns: tuple[str, ...],
    found: RowsOnPage,
    line: Callable[[int, Any], ui.Line],
    *filters: ui.Select,
) -> ui.Listing:
    """Return a list of an iteration's rows, with a search."""
    return ui.Listing(
        title=f"Iteration {query.k}: {what}",
        crumbs=crumbs(query.k),
        columns=columns,
        lines=tuple(line(query.k, row) for _, row in found.rows),
        total=found.total,
        page=query.page,
        filters=filters,
        search=query.q,
    )


def prompts(source: Source, query: ui.Query) -> ui.Listing:
    """Return the prompts of an iteration: kept, or rejected with the reason."""
    found = source.on_page({"": Ref(query.k, Stage.PROMPTS)}, query)

    def line(k: int, row: Prompt) -> ui.Line:
        why = "kept" if row.kept else ui.spaced(str(row.rejected))
        cells = (why, str(row.call), f"{len(row.text):,}")
        return ui.Line(ui.excerpt(row.text), prompt_link(k, row.key), cells)

    columns = ("prompt", "kept?", "call", "characters")
    outcomes = ui.outcome_select("Kept or why not", found.counts, query.outcome)
    return _listing(query, "prompts", columns, found, line, outcomes, PROMPT_ORDER.select(query))


def judgments(source: Source, query: ui.Query) -> ui.Listing:
    """Return the judge's replies, or the answers about which its replies disagree."""
    ref = Ref(query.k, Stage.JUDGMENTS)
    if query.show == "disagreement":
        return _disagreements(source, ref, query)
    found = source.on_page({"": ref}, query)

    def line(k: int, row: Judgment) -> ui.Line:
        score = ui.score_or_reason(row.score, row.unparsed)
        cells = (row.subject_key, score, f"{len(row.reply):,}")
        address = prompt_link(k, row.prompt_key, row.subject_key)
        return ui.Line(ui.excerpt(row.reply), address, cells)

    columns = ("the judge's reply", "answer", "score", "characters")
    outcomes = ui.outcome_select("Read or why not", found.counts, query.outcome)
    filters = (JUDGMENT_SHOW.select(query), outcomes, JUDGMENT_ORDER.select(query))
    return _listing(query, "judgments", columns, found, line, *filters)


def _disagreements(source: Source, ref: Ref, query: ui.Query) -> ui.Listing:
    """Return answers by the distance between their highest and lowest score, largest first."""
    k, values = query.k, (source.index.number(ref),)
    disagreeing = "FROM rows WHERE artifact = ? GROUP BY subject HAVING max(value) > min(value)"
    ((total,),) = source.index.query(f"SELECT count(*) FROM (SELECT 1 {disagreeing})", values)  # noqa: S608 - our own words
    found = source.index.query(
        f"SELECT prompt, subject, max(value) - min(value) {disagreeing} "
        "ORDER BY 3 DESC, min(id) LIMIT ? OFFSET ?",
        (*values, ui.PER_PAGE, ui.offset(query.page)),
    )
    answers = source.of_keys(Ref(k, Stage.CANDIDATES), [subject for _, subject, _ in found])
    lines = []
    for prompt, subject, spread in found:
        replies = source.rows(ref, "subject = ?", (subject,)).rows
        scores = ", ".join(ui.number(reply.score) for reply in replies)
        text = ui.excerpt(answers[subject].text) if subject in answers else subject
        lines.append(ui.Line(text, prompt_link(k, prompt, subject), (scores, ui.number(spread))))
    return ui.Listing(
        title=f"Iteration {k}: answers whose judgments disagree",
        crumbs=crumbs(k),
        columns=("answer", "scores of its replies", "difference"),
        lines=tuple(lines),
        total=int(total),
        page=query.page,
        filters=(JUDGMENT_SHOW.select(query),),
    )


def pairs(source: Source, query: ui.Query) -> ui.Listing:
    """Return what became of each prompt: a preference pair, or why there is none."""
    found = source.on_page({"": Ref(query.k, Stage.PAIRS)}, query)
    columns = ("prompt", "outcome", "mean scores", "chosen", "rejected", "gap", "characters")
    outcomes = ui.outcome_select("Outcome", found.counts, query.outcome)
    return _listing(query, "pairs", columns, found, _pair, outcomes, PAIR_ORDER.select(query))


def _pair(k: int, row: LedgerRow) -> ui.Line:
    gap = lengths = ui.NONE
    if row.chosen_score is not None and row.rejected_score is not None:
        gap = ui.number(row.chosen_score - row.rejected_score)
        lengths = f"{len(row.chosen or ''):,} and {len(row.rejected or ''):,}"
    cells = (
        ui.spaced(row.outcome),
        ", ".join(map(ui.number, row.scores)),
        ui.number(row.chosen_score),
        ui.number(row.rejected_score),
        gap,
        lengths,
    )
    return ui.Line(ui.excerpt(row.prompt), prompt_link(k, row.key), cells)
