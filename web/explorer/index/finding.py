"""The page of a search, and which page says most about a row that was found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.stages import Ref, Stage
from web.explorer.index.search import words_of
from web.explorer.pages import (
    Asked,
    Line,
    Link,
    Listing,
    excerpt,
    link,
    on_page,
    outcome_choice,
    row_link,
)
from web.explorer.views.rows import gist

if TYPE_CHECKING:
    from collections.abc import Sequence

    from web.explorer.source import Source

_BEFORE = 60  # characters shown before the word that was found
_OF_ITERATION = (Stage.PROMPTS, Stage.CANDIDATES, Stage.JUDGMENTS, Stage.EXTERNAL_JUDGMENTS)
_OF_RANKED = (Stage.RANKED, Stage.RANKED_JUDGMENTS, Stage.PROBE, Stage.EFT_JUDGMENTS)
_BENCHMARKS = {
    "head_to_head": "/head-to-head/prompt",
    "alpaca_eval": "/alpaca-eval/prompt",
    "mt_bench": "/mt-bench/question",
}


def search(source: Source, asked: Asked, only: str) -> Listing:
    """Return the rows of a run that hold every word of a query; `only`: of which artifacts."""
    found = source.search.find(asked.q, only)
    shown = on_page(found.hits, asked.page)
    by_artifact: dict[Ref, list[str]] = {}
    for hit in shown:
        by_artifact.setdefault(hit.ref, []).append(hit.key)
    rows = {ref: source.of_keys(ref, keys) for ref, keys in by_artifact.items()}
    words = words_of(asked.q)
    lines = []
    for hit in shown:
        row = rows[hit.ref].get(hit.key)
        text = _around(row, words) if row is not None else "(the artifact has just changed)"
        lines.append(Line(text, page_of(hit.ref, row, hit.key), (str(hit.ref), hit.key)))
    notes = [f"{ref} cannot be searched: {why}" for ref, why in found.unread.items()]
    if found.cut:
        notes.append(f"Only the first {len(found.hits):,} rows are listed: add a word.")
    counts = {str(ref): count for ref, count in found.counts.items()}
    return Listing(
        title="Search",
        crumbs=(Link("Run", "/"),),
        columns=("words", "artifact", "row"),
        lines=tuple(lines),
        total=len(found.hits),
        page=asked.page,
        choices=(outcome_choice("only", "In", counts, only, str),),
        search=asked.q,
        note="; ".join(notes) or None,
    )


def _around(row: Any, words: Sequence[str]) -> str:
    """Return the words around the first one found, in the text that holds it."""
    texts = [value for value in _texts(row) if words[0] in value.casefold()]
    text = texts[0] if texts else gist(row)
    at = max(0, text.casefold().find(words[0]) - _BEFORE)
    return excerpt(("…" if at else "") + text[at:])


def _texts(row: Any) -> list[str]:
    values = [getattr(row, name) for name in row.__slots__ if name != "key"]
    return [value for value in values if isinstance(value, str)]


def page_of(ref: Ref, row: Any, key: str) -> str:
    """Return the page of what a row is about, and the row's own page where there is none."""
    prompt = getattr(row, "prompt_key", key)
    if ref.stage in _OF_ITERATION:
        k = ref.iteration or int(ref.address.rpartition("iter")[2])
        return link(f"/iteration/{k}/prompt", key=prompt)
    if ref.stage in _OF_RANKED:
        return link("/agreement/prompt", key=prompt)
    if ref.stage is Stage.VERDICTS:
        return link("/head-to-head/prompt", key=prompt)
    if ref.stage is Stage.TURN_JUDGMENTS and row is not None:
        return link("/mt-bench/question", key=str(row.question_id))
    benchmark = ref.address.rpartition("/")[2]
    if ref.stage in (Stage.ANSWERS, Stage.ANNOTATIONS) and benchmark in _BENCHMARKS:
        return link(_BENCHMARKS[benchmark], key=prompt)
    return row_link(ref, key)
