"""Which rows there are and where they stand: an SQLite index, outside the run, made as it is asked.

An artifact is read once, when a page first needs it, and again only if its manifest has changed.
The index keeps a row's facts (facts.py) and its place in the file; the row itself is read from the
run each time. Table `rows`: artifact (a number, see `Index.number`), at (position in the file),
key, prompt, subject, outcome, value, length, and the place. Table `texts`: the case-folded texts by
the row's id, for searching.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from core.errors import DataError
from core.sqlite import Database
from core.stages import SPECS
from web.explorer.index.facts import facts_of
from web.explorer.index.reading import Place, read_at, read_places

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from core.reader import RunReader
    from core.stages import Ref

_SCHEMA = (
    """CREATE TABLE rows (
    id INTEGER PRIMARY KEY, artifact INTEGER, key TEXT, prompt TEXT, subject TEXT, outcome TEXT,
    value REAL, length INTEGER, line INTEGER, offset INTEGER, size INTEGER
)""",
    "CREATE INDEX by_key ON rows (artifact, key)",
    "CREATE INDEX by_prompt ON rows (artifact, prompt)",
    "CREATE INDEX by_subject ON rows (artifact, subject)",
    "CREATE TABLE texts (id INTEGER PRIMARY KEY, text TEXT)",
)
_INSERT = "INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_BATCH = 1000


class _Indexed(NamedTuple):
    number: int
    made: str  # the content hash and time of the manifest it was indexed for


class Index:
    """The rows of one run. Usable from several threads; close it, or use it as a context.

    The database is private to the process and lies in memory, or below the temporary folder once
    it is large; SQLite removes it.
    """

    def __init__(self, run: RunReader) -> None:
        """Open an empty index over a run."""
        self._run = run
        self._building = threading.Lock()
        self._known: dict[Ref, _Indexed] = {}
        self._last_id = self._last_number = 0
        self._database = Database(None, "the index", schema=_SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop the index."""
        self._database.close()

    def number(self, ref: Ref) -> int:
        """Return what an artifact is called in the index, reading it if it has not been yet.

        Raises:
            MissingArtifact: it is not complete.
            StaleArtifact: its file was altered after its manifest was written.
            DataError: a line of it is not such a row.
        """
        manifest = self._run.manifest(ref)
        made = f"{manifest.sha256} {manifest.finished_at}"
        known = self._known.get(ref)
        if known is not None and known.made == made:
            return known.number
        with self._building:
            known = self._known.get(ref)  # another thread may have been faster
            if known is None or known.made != made:
                self._run.store.verify(ref, manifest)
                if known is not None:
                    self._forget(known.number)
                known = _Indexed(self._add(ref), made)
                self._known[ref] = known
        return known.number

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query over the tables of this index."""
        return self._database.rows(sql, values)

    def write(self, sql: str, values: Iterable[Sequence[Any]] = ((),)) -> None:
        """Change tables of this index: for those that search keeps."""
        self._database.change(sql, values)

    def row(self, ref: Ref, key: str) -> Any | None:
        """Return the row of this key, None if the artifact has none."""
        found = self.select(ref, "key = ?", (key,), limit=1)
        return found[0] if found else None

    def select(
        self,
        ref: Ref,
        where: str = "1",
        values: Sequence[Any] = (),
        *,
        order: str = "id",
        limit: int = -1,
        offset: int = 0,
    ) -> list[Any]:
        """Return the rows that fulfil a condition on the table `rows`, read from the run.

        `where` and `order` are SQL written by the caller; whatever a reader typed goes into
        `values`. Rows come in the file's order unless another is given.
        """
        places = self.query(
            "SELECT line, offset, size FROM rows"  # noqa: S608 - see the docstring
            f" WHERE artifact = ? AND {where} ORDER BY {order}, id LIMIT ? OFFSET ?",
            (self.number(ref), *values, limit, offset),
        )
        return self._read(ref, [Place(*place) for place in places])

    def select_keys(self, ref: Ref, keys: Sequence[str]) -> list[Any]:
        """Return the rows of these keys in this order, leaving out those that are not there."""
        by_key = {key: Place(*place) for key, *place in self._of_keys(self.number(ref), keys)}
        return self._read(ref, [by_key[key] for key in keys if key in by_key])

    def count(self, ref: Ref, where: str = "1", values: Sequence[Any] = ()) -> int:
        """Return how many rows fulfil a condition (see `select`)."""
        sql = f"SELECT count(*) FROM rows WHERE artifact = ? AND {where}"  # noqa: S608 - as above
        ((found,),) = self.query(sql, (self.number(ref), *values))
        return int(found)

    def outcomes(self, ref: Ref) -> dict[str, int]:
        """Return how often rows ended in each way, the most frequent first."""
        sql = (
            "SELECT outcome, count(*) FROM rows WHERE artifact = ? GROUP BY outcome "
            "ORDER BY count(*) DESC, outcome"
        )
        return dict(self.query(sql, (self.number(ref),)))  # type: ignore[arg-type]

    def _read(self, ref: Ref, places: list[Place]) -> list[Any]:
        return read_at(self._run.store.paths.artifact(ref), _record_of(ref), places)

    def _of_keys(self, number: int, keys: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        for start in range(0, len(keys), _BATCH):
            part = keys[start : start + _BATCH]
            marks = ", ".join("?" * len(part))
            sql = (
                "SELECT key, line, offset, size FROM rows "  # noqa: S608 - question marks only
                f"WHERE artifact = ? AND key IN ({marks})"
            )
            yield from self.query(sql, (number, *part))

    def _add(self, ref: Ref) -> int:
        self._last_number += 1
        number = self._last_number
        path = self._run.store.paths.artifact(ref)
        rows: list[tuple[Any, ...]] = []
        texts: list[tuple[int, str]] = []
        try:
            for place, row in read_places(path, _record_of(ref)):
                self._last_id += 1
                *facts, words = facts_of(row)
                rows.append((self._last_id, number, *facts, *place))
                texts.append((self._last_id, folded("\n".join(words))))
                if len(rows) == _BATCH:
                    self._insert(rows, texts)
            self._insert(rows, texts)
        except (DataError, OverflowError) as error:
            self._forget(number)
            if isinstance(error, OverflowError):
                raise DataError(path, None, f"a number is too large ({error})") from None
            raise
        return number

    def _insert(self, rows: list[tuple[Any, ...]], texts: list[tuple[int, str]]) -> None:
        with self._database.transaction() as connection:
            connection.executemany(_INSERT, rows)
            connection.executemany("INSERT INTO texts VALUES (?, ?)", texts)
        rows.clear()
        texts.clear()

    def _forget(self, number: int) -> None:
        with self._database.transaction() as connection:
            gone = "(SELECT id FROM rows WHERE artifact = ?)"
            connection.execute(f"DELETE FROM texts WHERE id IN {gone}", (number,))  # noqa: S608
            connection.execute("DELETE FROM rows WHERE artifact = ?", (number,))


def folded(text: str) -> str:
    """Return a text as it is searched: without case, and without the NUL that ends SQLite's."""
    return text.casefold().replace("\0", " ")


def _record_of(ref: Ref) -> type[Any]:
    record = SPECS[ref.stage].record
    if record is None:
        raise TypeError(f"{ref} is a model, not rows")
    return record
