"""Pages that any artifact has: its manifest with its rows, and one row exactly as it is."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from core.hashing import short
from core.stages import SPECS, is_model
from web.explorer.pages import (
    PER_PAGE,
    Asked,
    Card,
    Detail,
    Line,
    Link,
    Listing,
    Part,
    Words,
    artifact_link,
    excerpt,
    named,
    offset,
    outcome_choice,
    row_link,
)
from web.explorer.source import holding

if TYPE_CHECKING:
    from core.store import Manifest
    from web.explorer.source import Source

_RUN = (Link("Run", "/"),)


def artifact(source: Source, address: str, asked: Asked) -> Listing | Detail | None:
    """Return an artifact's rows, or what a model folder is; None if there is no such artifact."""
    ref = source.run.store.artifacts().get(address)
    if ref is None:
        return None
    manifest = source.run.manifest(ref)
    if is_model(ref):
        return Detail(title=f"{ref}: {SPECS[ref.stage].title}", crumbs=_RUN, parts=_made(manifest))
    where, values = holding(asked.q)
    if asked.outcome:
        where, values = f"outcome = ? AND {where}", (asked.outcome, *values)
    rows = source.index.select(ref, where, values, limit=PER_PAGE, offset=offset(asked.page))
    counts = source.index.outcomes(ref)
    return Listing(
        title=f"{ref}: {SPECS[ref.stage].title}",
        crumbs=_RUN,
        columns=("row", "beginning"),
        lines=tuple(Line(row.key, row_link(ref, row.key), (excerpt(gist(row)),)) for row in rows),
        total=source.index.count(ref, where, values),
        page=asked.page,
        choices=(outcome_choice("outcome", "Outcome", counts, asked.outcome),),
        search=asked.q,
        hidden=(("address", address),),
        note=_summary(manifest),
    )


def gist(row: Any) -> str:
    """Return the row's longest text, which is what it is mostly about, or its values."""
    values = asdict(row)
    texts = [v for name, v in values.items() if isinstance(v, str) and name != "key"]
    longest = max(texts, key=len, default="")
    return longest or ", ".join(f"{n} {v}" for n, v in values.items() if n != "key")


def _summary(manifest: Manifest) -> str:
    inputs = ", ".join(f"{name} {short(digest)}" for name, digest in manifest.key.inputs.items())
    return (
        f"Made {manifest.finished_at} in {manifest.seconds:.1f} s by version "
        f"{manifest.code_version} from {inputs or 'no other artifact'}; "
        f"sha256 {short(manifest.sha256)}."
    )


def _made(manifest: Manifest) -> tuple[Part, ...]:
    text = json.dumps(asdict(manifest), indent=1, ensure_ascii=False)
    words = Words(_summary(manifest), text, fixed=True)
    return (Part("Its manifest", (Card("", (), (words,)),)),)


def row(source: Source, address: str, key: str) -> Detail | None:
    """Return every field of one row, as it is; None if there is no such row or artifact."""
    ref = source.run.store.artifacts().get(address)
    if ref is None or is_model(ref):
        return None
    found = source.index.row(ref, key)
    if found is None:
        return None
    words = tuple(Words(named(n), _shown(v), fixed=True) for n, v in asdict(found).items())
    return Detail(
        title=f"{ref}: row {excerpt(key)}",
        crumbs=(*_RUN, Link(str(ref), artifact_link(ref))),
        parts=(Part("The row", (Card("", (), words),)),),
    )


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
