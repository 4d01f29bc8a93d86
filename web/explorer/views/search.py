"""The view of a search: the rows of a run that hold every word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from web.explorer import pages as ui
from web.explorer.index.search import words_of
from web.explorer.views.rows import longest_text
from web.explorer.views.view import View, row_address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.stages import Ref
    from web.explorer.source import Source

_BEFORE = 60  # characters shown before the word that was found


def search(source: Source, views: Sequence[View], query: ui.Query) -> ui.Listing:
    """Return the rows of a run that hold every word of a query; `only`: of which artifacts."""
    found = source.search.find(query.q, query.only)
    shown = ui.on_page(found.hits, query.page)
    keys: dict[Ref, list[str]] = {}
    for hit in shown:
        keys.setdefault(hit.ref, []).append(hit.key)
    rows = {ref: source.of_keys(ref, wanted) for ref, wanted in keys.items()}
    words = words_of(query.q)
    lines = []
    for hit in shown:
        row = rows[hit.ref].get(hit.key)
        text = _around(row, words) if row is not None else "(the artifact has just changed)"
        address = row_address(views, hit.ref, hit.key, hit.prompt)
        lines.append(ui.Line(text, address, (str(hit.ref), hit.key)))
    notes = [f"{ref} cannot be searched: {why}" for ref, why in found.unread.items()]
    if found.cut:
        notes.append(f"Only the first {len(found.hits):,} rows are listed: add a word.")
    everything = {"": f"all ({len(found.hits):,})"}
    artifacts = {str(ref): f"{ref} ({count:,})" for ref, count in found.counts.items()}
    if query.only and query.only not in artifacts:
        artifacts[query.only] = f"{query.only} (0)"
    return ui.Listing(
        title="Search",
        columns=("text", "artifact", "row"),
        lines=tuple(lines),
        total=len(found.hits),
        page=query.page,
        filters=(ui.select("only", "In", everything | artifacts, query.only),),
        search=query.q,
        note="; ".join(notes) or None,
    )


def _around(row: Any, words: Sequence[str]) -> str:
    """Return the text around the first word found, from the field that holds it."""
    values = [getattr(row, name) for name in row.__slots__ if name != "key"]
    texts = [v for v in values if isinstance(v, str) and words[0] in v.casefold()]
    text = texts[0] if texts else longest_text(row)
    at = max(0, text.casefold().find(words[0]) - _BEFORE)
    return ui.excerpt(("…" if at else "") + text[at:])
