"""An SQLite index of a run's rows, outside the run, filled when a page first needs an artifact.

An artifact is read again only if its manifest has changed. The index keeps a row's facts (facts.py)
and its place in the file; the row itself is read from the run each time. Table `rows`: artifact (a
number, see `Index.number`), the facts, and the place. Table `texts`: the case-folded texts by the
row's id, for searching.
"""

from __future__ import annotations

import json
import re
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from core import jsonl
from core.errors import DataError
from core.sqlite import Database
from core.stages import SPECS, Ref
from web.explorer.index.facts import facts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from core.reader import RunReader

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
_SURROGATES = re.compile("[\ud800-\udfff]")


class Place(NamedTuple):
    """Where a row is in its file: the line from 1, its first byte, its number of bytes."""

    line: int
    offset: int
    size: int


class Index:
    """The rows of one run. Usable from several threads; close it.

    The database is private to the process and lies in memory, or below the temporary folder once
    it is large; SQLite removes it.
    """

    def __init__(self, run: RunReader) -> None:
        self._run = run
        self._building = threading.Lock()
        # Number, and content hash and time of the manifest that an artifact was indexed for.
        self._known: dict[Ref, tuple[int, str]] = {}
        self._last_id = self._last_number = 0
        self._database = Database(None, "the index", schema=_SCHEMA)

    def close(self) -> None:
        """Drop the index."""
        self._database.close()

    def number(self, ref: Ref) -> int:
        """Return an artifact's number in the index, reading the artifact if it is not in it yet.

        Raises:
            MissingArtifact: it is not complete.
            StaleArtifact: its file was altered after its manifest was written.
            DataError: a line of it is not such a row.
        """
        manifest = self._run.manifest(ref)
        made = f"{manifest.sha256} {manifest.finished_at}"
        known = self._known.get(ref)
        if known is not None and known[1] == made:
            return known[0]
        with self._building:
            known = self._known.get(ref)  # another thread may have been faster
            if known is None or known[1] != made:
                self._run.store.verify(ref, manifest)
                if known is not None:
                    self._forget(known[0])
                known = self._known[ref] = (self._add(ref), made)
        return known[0]

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query over the tables of this index."""
        return self._database.rows(sql, values)

    def write(self, sql: str, values: Iterable[Sequence[Any]] = ((),)) -> None:
        """Change tables of this index (see search.py)."""
        self._database.change(sql, values)

    def row(self, ref: Ref, key: str) -> Any | None:
        """Return the row of this key, None if the artifact has none."""
        found = self.select(ref, "key = ?", (key,))
        return found[0] if found else None

    def select(self, ref: Ref, where: str = "1", values: Sequence[Any] = ()) -> list[Any]:
        """Return the rows that fulfil a condition on the table `rows`, in the file's order.

        `where` is SQL written by the caller; anything a reader typed goes into `values`.
        """
        rows, _ = self.page([ref], where, values, order="id")
        return [row for _, row in rows]

    def page(
        self,
        refs: Sequence[Ref],
        where: str,
        values: Sequence[Any],
        *,
        order: str,
        limit: int = -1,
        offset: int = 0,
    ) -> tuple[list[tuple[Ref, Any]], int]:
        """Return some rows of several artifacts as `select` does, and how many there are in all.

        Rows that the order leaves equal come in the order of `refs`, then in the file's.
        """
        numbers = {self.number(ref): ref for ref in refs}
        condition = f"artifact IN ({_listed(numbers)}) AND {where}"
        places = self.query(
            "SELECT artifact, line, offset, size FROM rows "  # noqa: S608 - see `select`
            f"WHERE {condition} ORDER BY {order}, {by_rank(numbers)}, id LIMIT ? OFFSET ?",
            (*values, limit, offset),
        )
        if limit < 0:
            total = len(places)
        else:
            ((total,),) = self.query(f"SELECT count(*) FROM rows WHERE {condition}", values)  # noqa: S608
        by_ref: dict[Ref, list[Place]] = {}
        for artifact, *place in places:
            by_ref.setdefault(numbers[artifact], []).append(Place(*place))
        read = {ref: iter(self._read(ref, found)) for ref, found in by_ref.items()}
        return [
            (numbers[artifact], next(read[numbers[artifact]])) for artifact, *_ in places
        ], total

    def select_keys(self, ref: Ref, keys: Sequence[str]) -> list[Any]:
        """Return the rows of these keys in this order, leaving out those that are not there."""
        number = self.number(ref)
        sql = "SELECT line, offset, size FROM rows WHERE artifact = ? AND key = ?"
        found = [place for key in keys for place in self.query(sql, (number, key))]
        return self._read(ref, [Place(*place) for place in found])

    def outcomes(self, *refs: Ref) -> dict[str, int]:
        """Return how many rows have each outcome, the most frequent first."""
        artifacts = _listed(self.number(ref) for ref in refs)
        sql = (
            f"SELECT outcome, count(*) FROM rows WHERE artifact IN ({artifacts}) "  # noqa: S608 - numbers
            "GROUP BY outcome ORDER BY count(*) DESC, outcome"
        )
        return dict(self.query(sql))  # type: ignore[arg-type]

    def _read(self, ref: Ref, places: list[Place]) -> list[Any]:
        """Return the rows at these places; DataError if the file has changed since."""
        path, record, found = self._run.store.paths.artifact(ref), _record_of(ref), []
        try:
            with path.open("rb") as file:
                for place in places:
                    file.seek(place.offset)
                    found.append(_decoded(file.read(place.size), record, path, place.line))
        except FileNotFoundError:
            raise DataError(path, None, "it was removed while it was read") from None
        return found

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


def by_rank(numbers: Iterable[int]) -> str:
    """Return the SQL that orders artifacts as they are given."""
    ranked = " ".join(f"WHEN {number} THEN {rank}" for rank, number in enumerate(numbers))
    return f"CASE artifact {ranked} END" if ranked else "artifact"


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def folded(text: str) -> str:
    """Return a text as it is searched: without case, and without the NUL that ends SQLite's."""
    return text.casefold().replace("\0", " ")


def _record_of(ref: Ref) -> type[Any]:
    record = SPECS[ref.stage].record
    if record is None:
        raise TypeError(f"{ref} is a model, not rows")
    return record


def read_places(path: Path, record: type[Any]) -> Iterator[tuple[Place, Any]]:
    """Yield every row of a file with its place.

    Raises:
        DataError: the file is missing, or a line is not such a record.
    """
    if not path.is_file():
        raise DataError(path, None, "no such file; it was removed after its manifest was written")
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield Place(number, offset, len(line)), _decoded(line, record, path, number)
            offset += len(line)


def _decoded(line: bytes, record: type[Any], path: Path, number: int) -> Any:
    """Return a line as a record. A lone surrogate, which JSON may hold, becomes U+FFFD."""
    try:
        value = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(path, number, f"not UTF-8 at byte {error.start}") from None
    except ValueError as error:
        raise DataError(path, number, f"not valid JSON: {error}") from None
    except RecursionError:
        raise DataError(path, number, "JSON nested too deeply") from None
    if b"\\ud" in line.lower():
        value = _without_surrogates(value)
    return jsonl.decode(record, value, path, number)


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, list):
        return [_without_surrogates(inner) for inner in value]
    if isinstance(value, dict):
        return {_without_surrogates(n): _without_surrogates(inner) for n, inner in value.items()}
    return value
