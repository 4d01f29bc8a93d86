"""What pages are made from: a run, the index of its rows, and the search over them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

from core.errors import MissingArtifact, SrlmError
from core.reader import RunReader
from web.explorer.index.index import Index
from web.explorer.index.search import Search, words_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from core.stages import Ref


class Found(NamedTuple):
    """Rows, or why there are none to show."""

    rows: list[Any]
    why: str | None = None


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

    def require(self, ref: Ref) -> Ref:
        """Return an artifact's address if it is complete.

        Raises:
            MissingArtifact: it is not; the message says why.
        """
        if (why := self.run.why_missing(ref)) is not None and not self.run.exists(ref):
            raise MissingArtifact(f"{ref}: {why}")
        return ref

    def rows(
        self, ref: Ref, where: str = "1", values: tuple[Any, ...] = (), *, order: str = "id"
    ) -> Found:
        """Return the rows that fulfil a condition (see `Index.select`)."""
        return self._guarded(ref, lambda: self.index.select(ref, where, values, order=order))

    def row(self, ref: Ref, key: str) -> Any | None:
        """Return a row, None if it or its artifact is not there."""
        found = self.rows(ref, "key = ?", (key,)).rows
        return found[0] if found else None

    def of_prompt(self, ref: Ref, key: str) -> Found:
        """Return the rows that belong to a prompt."""
        return self.rows(ref, "prompt = ?", (key,))

    def of_keys(self, ref: Ref, keys: list[str]) -> dict[str, Any]:
        """Return the rows of these keys that are there, by key."""
        found = self._guarded(ref, lambda: self.index.select_keys(ref, keys)).rows
        return {row.key: row for row in found}

    def facts(
        self, ref: Ref, columns: str, where: str = "1", values: tuple[Any, ...] = ()
    ) -> Found:
        """Return columns of the index for an artifact's rows in the file's order."""

        def look() -> list[Any]:
            sql = f"SELECT {columns} FROM rows WHERE artifact = ? AND {where} ORDER BY id"  # noqa: S608 - the caller's own words
            return self.index.query(sql, (self.index.number(ref), *values))

        return self._guarded(ref, look)

    def _guarded(self, ref: Ref, look: Callable[[], list[Any]]) -> Found:
        if (why := self.run.why_missing(ref)) is not None:
            return Found([], why)
        try:
            return Found(look())
        except SrlmError as error:
            return Found([], str(error))


def holding(query: str) -> tuple[str, tuple[str, ...]]:
    """Return the condition on the index that a row holds every word of a query, and its values."""
    words = words_of(query)
    clauses = ["instr(text, ?) > 0"] * len(words)
    if not words:
        return "1", ()
    every = " AND ".join(clauses)
    return f"id IN (SELECT id FROM texts WHERE {every})", tuple(words)  # noqa: S608 - no words
