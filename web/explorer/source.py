"""The data that pages are made from: a run, the index of its rows, and the search over them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

from core.benchmarks import Subject
from core.errors import SrlmError
from core.reader import RunReader
from web.explorer import pages as ui
from web.explorer.index.index import Index
from web.explorer.index.search import Search

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from core.stages import Ref, Stage

# What filters and orders mean in SQL, over the table `rows` of the index.
_SHOWN = {
    "unparsed": "outcome != 'read'",
    "disagreement": "(SELECT max(value) > min(value) FROM rows AS other "
    "WHERE other.artifact = rows.artifact AND other.subject = rows.subject)",
}
_ORDERED = {
    "longest": "length DESC",
    "highest": "value IS NULL, value DESC",
    "lowest": "value IS NULL, value",
    "gap": "value IS NULL, value DESC",
    "closest": "value IS NULL, value",
}


class Found(NamedTuple):
    """Rows, or why there are none to show."""

    rows: list[Any]
    why: str | None = None


class RowsOnPage(NamedTuple):
    """The rows on one page of a list, each with its artifact's name; how many pass the filters.

    `counts`: all rows by outcome, whatever the filters.
    """

    rows: list[tuple[str, Any]]
    total: int
    counts: dict[str, int]


class Source:
    """One run with its index. Close it, or use it as a context."""

    def __init__(self, folder: Path) -> None:
        """Open a run; no rows are read yet.

        Raises:
            ConfigError: there is no run at `folder`.
        """
        self.run = RunReader(folder)
        self.index = Index(self.run)
        self.search = Search(self.run, self.index)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop searching in the background and drop the index."""
        self.search.close()
        self.index.close()

    def why_missing(self, ref: Ref) -> str | None:
        """Return why an artifact's rows cannot be shown; None if they can."""
        if (why := self.run.why_missing(ref)) is not None:
            return why
        try:
            self.index.number(ref)
        except SrlmError as error:
            return str(error)
        return None

    def refs(self, benchmark: str, stage: Stage, part: str = "") -> dict[str, Ref]:
        """Return an artifact of a benchmark, or of a part of it, for every model."""
        models = self.run.answering_models
        return {model: Subject(benchmark, (model,), part=part).ref(stage) for model in models}

    def first_of_each(self, refs: Mapping[str, Ref], key: str) -> tuple[dict[str, Any], str | None]:
        """Return what `of_each` does, where a prompt has one row; without those that have none."""
        found, missing = self.of_each(refs, key)
        return {name: rows[0] for name, rows in found.items() if rows}, missing

    def available(self, refs: Mapping[str, Ref]) -> tuple[dict[str, Ref], str | None]:
        """Return the artifacts that can be shown, and a note on why the others cannot."""
        reasons = {name: self.why_missing(ref) for name, ref in refs.items()}
        missing = [f"{name}: {why}" for name, why in reasons.items() if why is not None]
        there = {name: ref for name, ref in refs.items() if reasons[name] is None}
        return there, "; ".join(missing) or None

    def of_models(self, refs: Mapping[str, Ref], query: ui.Query) -> tuple[RowsOnPage, str | None]:
        """Return what `on_page` does for the query's model or all, and a note on missing ones."""
        wanted = {query.model: refs[query.model]} if query.model in refs else refs
        there, note = self.available(wanted)
        return self.on_page(there, query), note

    def on_page(self, refs: Mapping[str, Ref], query: ui.Query) -> RowsOnPage:
        """Return the rows of these artifacts that a query asks for, by outcome, words and page.

        Raises:
            MissingArtifact, StaleArtifact, DataError: see `Index.number`.
        """
        clauses, values = self.search.clauses(query.q)
        if query.outcome:
            clauses.append("outcome = ?")
            values.append(query.outcome)
        if query.show in _SHOWN:
            clauses.append(_SHOWN[query.show])
        found, total = self.index.page(
            list(refs.values()),
            " AND ".join(clauses) or "1",
            values,
            order=_ORDERED.get(query.order, "NULL"),
            limit=ui.PER_PAGE,
            offset=ui.offset(query.page),
        )
        names = {ref: name for name, ref in refs.items()}
        rows = [(names[ref], row) for ref, row in found]
        return RowsOnPage(rows, total, self.index.outcomes(*refs.values()))

    def rows(self, ref: Ref, where: str = "1", values: tuple[Any, ...] = ()) -> Found:
        """Return the rows that fulfil a condition (see `Index.select`)."""
        return self._guarded(ref, lambda: self.index.select(ref, where, values))

    def row(self, ref: Ref, key: str) -> Any | None:
        """Return a row, None if it or its artifact is not there."""
        found = self.rows(ref, "key = ?", (key,)).rows
        return found[0] if found else None

    def of_prompt(self, ref: Ref, key: str) -> Found:
        """Return the rows that belong to a prompt."""
        return self.rows(ref, "prompt = ?", (key,))

    def of_each(self, refs: Mapping[str, Ref], key: str) -> tuple[dict[str, list[Any]], str | None]:
        """Return the rows of each artifact that belong to a prompt, and why some are missing."""
        found = {name: self.of_prompt(ref, key) for name, ref in refs.items()}
        missing = [f"{name}: {one.why}" for name, one in found.items() if one.why is not None]
        return {name: one.rows for name, one in found.items()}, "; ".join(missing) or None

    def of_keys(self, ref: Ref, keys: list[str]) -> dict[str, Any]:
        """Return the rows of these keys that are there, by key."""
        found = self._guarded(ref, lambda: self.index.select_keys(ref, keys)).rows
        return {row.key: row for row in found}

    def facts(self, ref: Ref, columns: str) -> Found:
        """Return columns of the index for an artifact's rows in the file's order."""
        sql = f"SELECT {columns} FROM rows WHERE artifact = ? ORDER BY id"  # noqa: S608 - our own words
        return self._guarded(ref, lambda: self.index.query(sql, (self.index.number(ref),)))

    def _guarded(self, ref: Ref, look: Callable[[], list[Any]]) -> Found:
        if (why := self.run.why_missing(ref)) is not None:
            return Found([], why)
        try:
            return Found(look())
        except SrlmError as error:
            return Found([], str(error))
