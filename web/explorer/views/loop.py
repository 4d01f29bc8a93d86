"""Pages of an iteration: its prompts, what became of each, every judgment, every pair."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from core.stages import Ref, Stage
from web.explorer.pages import (
    NONE,
    PER_PAGE,
    Asked,
    Line,
    Link,
    Listing,
    choice,
    excerpt,
    link,
    named,
    offset,
    outcome_choice,
    points,
)
from web.explorer.source import holding

if TYPE_CHECKING:
    from core.records import Judgment, LedgerRow, Prompt
    from web.explorer.source import Source

PROMPT_ORDERS = {"made": "as they were made", "longest": "longest first"}
JUDGMENT_ORDERS = {
    "made": "as they were made",
    "longest": "longest reply first",
    "highest": "highest score first",
    "lowest": "lowest score first",
}
JUDGMENT_SHOWS = {"all": "every reply", "disagreement": "answers whose replies disagree"}
PAIR_ORDERS = {
    "made": "as they were made",
    "gap": "largest gap first",
    "closest": "smallest gap first",
    "longest": "longest answer first",
}
_SQL_ORDERS = {
    "longest": "length DESC",
    "highest": "value IS NULL, value DESC",
    "lowest": "value IS NULL, value",
    "gap": "value IS NULL, value DESC",
    "closest": "value IS NULL, value",
}


def crumbs(k: int) -> tuple[Link, ...]:
    """Return the way from the run to an iteration."""
    return (Link("Run", "/"), Link(f"Iteration {k}", link(f"/iteration/{k}")))


def prompt_link(k: int, key: str, answer: str = "") -> str:
    """Return the address of a prompt's page, at one of its candidates if that is named."""
    at = f"#{quote(answer, errors='replace')}" if answer else ""
    return link(f"/iteration/{k}/prompt", key=key) + at


def prompts(source: Source, k: int, asked: Asked) -> Listing:
    """Return the prompts of an iteration: kept, or rejected with the reason."""
    ref = source.require(Ref(k, Stage.PROMPTS))
    counts = source.index.outcomes(ref)

    def line(row: Prompt) -> Line:
        why = "kept" if row.kept else named(str(row.rejected))
        cells = (why, str(row.call), f"{len(row.text):,}")
        return Line(excerpt(row.text), prompt_link(k, row.key), cells)

    where, values = _filtered(asked)
    rows = source.index.select(
        ref, where, values, order=_order(asked), limit=PER_PAGE, offset=offset(asked.page)
    )
    return Listing(
        title=f"Iteration {k}: prompts",
        crumbs=crumbs(k),
        columns=("prompt", "kept?", "call", "characters"),
        lines=tuple(map(line, rows)),
        total=source.index.count(ref, where, values),
        page=asked.page,
        choices=(
            outcome_choice("outcome", "Kept or why not", counts, asked.outcome),
            choice("order", "Order", PROMPT_ORDERS, asked.order),
        ),
        search=asked.q,
    )


def judgments(source: Source, k: int, asked: Asked) -> Listing:
    """Return the judge's replies, or the answers about which its replies disagree."""
    ref = source.require(Ref(k, Stage.JUDGMENTS))
    if asked.show == "disagreement":
        return _disagreements(source, k, asked)
    where, values = _filtered(asked)
    rows: list[Judgment] = source.index.select(
        ref, where, values, order=_order(asked), limit=PER_PAGE, offset=offset(asked.page)
    )
    return Listing(
        title=f"Iteration {k}: judgments",
        crumbs=crumbs(k),
        columns=("the judge's words", "answer", "score", "characters"),
        lines=tuple(_judgment(k, row) for row in rows),
        total=source.index.count(ref, where, values),
        page=asked.page,
        choices=(
            choice("show", "Show", JUDGMENT_SHOWS, asked.show),
            outcome_choice("outcome", "Read or why not", source.index.outcomes(ref), asked.outcome),
            choice("order", "Order", JUDGMENT_ORDERS, asked.order),
        ),
        search=asked.q,
    )


def _judgment(k: int, row: Judgment) -> Line:
    score = points(row.score) if row.score is not None else f"none: {named(str(row.unparsed))}"
    cells = (row.subject_key, score, f"{len(row.reply):,}")
    return Line(excerpt(row.reply), prompt_link(k, row.prompt_key, row.subject_key), cells)


def _disagreements(source: Source, k: int, asked: Asked) -> Listing:
    """Return answers by the distance between their highest and lowest score, largest first."""
    number = source.index.number(Ref(k, Stage.JUDGMENTS))
    disagreeing = "FROM rows WHERE artifact = ? GROUP BY subject HAVING max(value) > min(value)"
    ((total,),) = source.index.query(
        f"SELECT count(*) FROM (SELECT 1 {disagreeing})",  # noqa: S608 - our own words
        (number,),
    )
    found = source.index.query(
        f"SELECT prompt, subject, max(value) - min(value) {disagreeing} "
        "ORDER BY 3 DESC, min(id) LIMIT ? OFFSET ?",
        (number, PER_PAGE, offset(asked.page)),
    )
    answers = source.of_keys(Ref(k, Stage.CANDIDATES), [subject for _, subject, _ in found])
    lines = []
    for prompt, subject, spread in found:
        replies = source.rows(Ref(k, Stage.JUDGMENTS), "subject = ?", (subject,)).rows
        scores = ", ".join(points(reply.score) for reply in replies)
        answer = answers.get(subject)
        text = excerpt(answer.text) if answer is not None else subject
        lines.append(Line(text, prompt_link(k, prompt, subject), (scores, points(spread))))
    return Listing(
        title=f"Iteration {k}: answers whose judgments disagree",
        crumbs=crumbs(k),
        columns=("answer", "scores of its replies", "apart by"),
        lines=tuple(lines),
        total=int(total),
        page=asked.page,
        choices=(choice("show", "Show", JUDGMENT_SHOWS, asked.show),),
    )


def pairs(source: Source, k: int, asked: Asked) -> Listing:
    """Return the ledger: what became of each prompt, a pair or why not."""
    ref = source.require(Ref(k, Stage.PAIRS))
    where, values = _filtered(asked)
    rows = source.index.select(
        ref, where, values, order=_order(asked), limit=PER_PAGE, offset=offset(asked.page)
    )
    return Listing(
        title=f"Iteration {k}: pairs",
        crumbs=crumbs(k),
        columns=("prompt", "outcome", "mean scores", "chosen", "rejected", "gap", "characters"),
        lines=tuple(_pair(k, row) for row in rows),
        total=source.index.count(ref, where, values),
        page=asked.page,
        choices=(
            outcome_choice("outcome", "Outcome", source.index.outcomes(ref), asked.outcome),
            choice("order", "Order", PAIR_ORDERS, asked.order),
        ),
        search=asked.q,
    )


def _pair(k: int, row: LedgerRow) -> Line:
    gap = lengths = NONE
    if row.chosen_score is not None and row.rejected_score is not None:
        gap = points(row.chosen_score - row.rejected_score)
        lengths = f"{len(row.chosen or ''):,} and {len(row.rejected or ''):,}"
    cells = (
        named(row.outcome),
        ", ".join(map(points, row.scores)),
        points(row.chosen_score),
        points(row.rejected_score),
        gap,
        lengths,
    )
    return Line(excerpt(row.prompt), prompt_link(k, row.key), cells)


def _filtered(asked: Asked) -> tuple[str, tuple[str, ...]]:
    where, values = holding(asked.q)
    if asked.outcome:
        return f"outcome = ? AND {where}", (asked.outcome, *values)
    return where, values


def _order(asked: Asked) -> str:
    return _SQL_ORDERS.get(asked.order, "id")
