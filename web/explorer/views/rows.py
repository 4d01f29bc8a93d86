"""Views of any artifact: its rows with its manifest, one row exactly as it is, and a search."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from core.hashing import short
from core.jsonl import values_of
from core.stages import SPECS, Ref, is_model
from web.explorer import pages as ui
from web.explorer.index.search import words_of
from web.explorer.views.view import View, no_such, row_address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.store import Manifest
    from web.explorer.source import Source

_BEFORE = 60  # characters shown before the word that was found


def artifact(source: Source, query: ui.Query) -> ui.Listing | ui.Detail:
    """Return an artifact's rows, or the manifest of a model."""
    known = source.run.store.artifacts()
    ref = known.get(query.address)
    if ref is None:
        raise no_such(f"artifact {query.address!r}", f"there are {', '.join(known)}")
    manifest = source.run.manifest(ref)
    title = f"{ref}: {SPECS[ref.stage].title}"
    if is_model(ref):
        text = ui.Text(_summary(manifest), ui.field_text(asdict(manifest)), fixed=True)
        parts = (ui.Part("Its manifest", (ui.Card("", (), (text,)),)),)
        return ui.Detail(title=title, crumbs=(ui.RUN,), parts=parts)
    found = source.on_page({"": ref}, query)
    return ui.Listing(
        title=title,
        columns=("row", "beginning"),
        lines=tuple(
            ui.Line(row.key, ui.row_link(ref, row.key).href, (ui.excerpt(longest_text(row)),))
            for _, row in found.rows
        ),
        total=found.total,
        page=query.page,
        filters=(ui.outcome_select("Outcome", found.counts, query.outcome),),
        search=query.q,
        hidden=(("address", query.address),),
        note=_summary(manifest),
    )


def longest_text(row: Any) -> str:
    """Return the longest text of a row except its key; its values if it has no text."""
    values = values_of(row)
    values.pop("key", None)
    longest = max((v for v in values.values() if isinstance(v, str)), key=len, default="")
    return longest or ", ".join(f"{name} {value}" for name, value in values.items())


def _summary(manifest: Manifest) -> str:
    inputs = ", ".join(f"{name} {short(digest)}" for name, digest in manifest.key.inputs.items())
    return (
        f"Made {manifest.finished_at} in {manifest.seconds:.1f} s by version "
        f"{manifest.code_version} from {inputs or 'no other artifact'}; "
        f"sha256 {short(manifest.sha256)}."
    )


def row(source: Source, query: ui.Query) -> ui.Detail:
    """Return every field of one row, as it is."""
    address, key = query.artifact, query.key
    ref = source.run.store.artifacts().get(address)
    found = None if ref is None or is_model(ref) else source.index.row(ref, key)
    if ref is None or found is None:
        every = ui.link("/artifact", address=address)
        raise no_such(f"row {key!r} in {address!r}", f"its rows are at {every}")
    texts = tuple(
        ui.Text(ui.spaced(name), ui.field_text(value), fixed=True)
        for name, value in values_of(found).items()
    )
    return ui.Detail(
        title=f"{ref}: row {ui.excerpt(key)}",
        crumbs=(ui.RUN, ui.Link(str(ref), ui.artifact_link(ref))),
        parts=(ui.Part("The row", (ui.Card("", (), texts),)),),
    )


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
