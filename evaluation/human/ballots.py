"""What annotators said, in one SQLite file that loses nothing once it was acknowledged.

A ballot is committed to the disk (WAL, synchronous=FULL) before its page answers. One thread
writes; ballots that arrive while it commits share the next commit. Nothing is ever overwritten:
undoing marks a ballot, and what was said instead is another one.
"""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from core.errors import DataError, StorageError
from core.sqlite import Database

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS ballots (
    id INTEGER PRIMARY KEY,      -- in the order they were cast
    annotator TEXT NOT NULL,
    item TEXT NOT NULL,          -- the item's key
    answer TEXT NOT NULL,        -- "A", "B" or "tie"; for rankings the ranks in the study's order
    shown TEXT NOT NULL,         -- the texts in the order shown, e.g. "1,0": B on the left
    comment TEXT NOT NULL,
    seconds REAL NOT NULL,       -- from showing the page to its answer
    cast_at TEXT NOT NULL,       -- UTC
    undone_at TEXT               -- UTC; NULL: it counts
)""",
    "CREATE UNIQUE INDEX IF NOT EXISTS counted ON ballots (annotator, item) "
    "WHERE undone_at IS NULL",
)
_KIND = "a database of ballots"
_COLUMNS = "annotator, item, answer, shown, comment, seconds, cast_at, undone_at, id"
_MOST_PER_COMMIT = 256


@dataclass(frozen=True, slots=True)
class Ballot:
    """What one annotator said of one item. `number` is None until it was cast."""

    annotator: str
    item: str
    answer: str
    shown: str
    comment: str
    seconds: float
    cast_at: str
    undone_at: str | None = None
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Cast:
    """What became of a ballot: the one that counts now, and whether it was there before."""

    ballot: Ballot
    repeated: bool


class BallotBox:
    """The ballots of one study. Use as a context manager; methods may be called from any thread."""

    def __init__(self, path: Path) -> None:
        """Name the file; nothing is opened yet."""
        self._path = path
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="ballots", daemon=True)

    def __enter__(self) -> Self:
        """Create the file unless it is there, and start the writing thread.

        Raises:
            DataError: the file is no database of ballots.
            StorageError: it cannot be written.
        """
        self._reader = Database(self._path, _KIND, schema=_SCHEMA, wal=True)
        self._writer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write what is waiting, then close."""
        self._jobs.put(None)
        self._writer.join()
        self._reader.close()

    def cast(self, ballot: Ballot) -> Future[Cast]:
        """Add a ballot; the result is there once the disk has it.

        A second ballot of the same annotator on the same item changes nothing: the first one is
        returned as repeated.
        """
        return self._submit(lambda database: _cast(database, ballot))

    def undo(self, annotator: str, number: int, at: str) -> Future[Ballot | None]:
        """Mark a ballot as undone; None if this annotator has none of that number that counts."""
        return self._submit(lambda database: _undo(database, annotator, number, at))

    def of(self, annotator: str) -> dict[str, Ballot]:
        """Return an annotator's ballots that count, by item, in the order they were cast."""
        rows = self._reader.rows(
            f"SELECT {_COLUMNS} FROM ballots WHERE annotator = ? AND undone_at IS NULL "  # noqa: S608
            "ORDER BY id",
            (annotator,),
        )
        return {ballot.item: ballot for ballot in map(_ballot, rows)}

    def _submit(self, work: Callable[[sqlite3.Connection], Any]) -> Future[Any]:
        job = _Job(work)
        self._jobs.put(job)
        return job.result

    def _write(self) -> None:
        with Database(self._path, _KIND, wal=True) as database:
            while (job := self._jobs.get()) is not None:
                jobs: list[_Job] = [job]
                while len(jobs) < _MOST_PER_COMMIT and not self._jobs.empty():
                    waiting = self._jobs.get()
                    if waiting is None:
                        self._jobs.put(None)
                        break
                    jobs.append(waiting)
                self._commit(database, jobs)

    def _commit(self, database: Database, jobs: list[_Job]) -> None:
        try:
            with database.transaction() as connection:
                done = [job.work(connection) for job in jobs]
        except (DataError, StorageError) as error:
            reason = error.__cause__ or error
            problem = StorageError(f"{self._path}: {reason}; nothing of this was kept, try again")
            for job in jobs:
                job.result.set_exception(problem)
            return
        for job, result in zip(jobs, done, strict=True):
            job.result.set_result(result)


class _Job:
    """Something to write, and where its result is awaited."""

    def __init__(self, work: Callable[[sqlite3.Connection], Any]) -> None:
        self.work = work
        self.result: Future[Any] = Future()
        self.result.set_running_or_notify_cancel()  # from here on nobody can cancel it


def read_ballots(path: Path, *, undone: bool = False) -> list[Ballot]:
    """Return all ballots that count (or with `undone` all) in the order they were cast.

    The file is opened read-only, so a server may be writing to it. No file: no ballots.

    Raises:
        DataError: the file is no database of ballots.
    """
    if not path.is_file():
        return []
    where = "" if undone else "WHERE undone_at IS NULL "
    with Database(path, _KIND, wal=True, read_only=True) as database:
        rows = database.rows(f"SELECT {_COLUMNS} FROM ballots {where}ORDER BY id")  # noqa: S608
    return [_ballot(row) for row in rows]


def _cast(database: sqlite3.Connection, ballot: Ballot) -> Cast:
    there = database.execute(
        f"SELECT {_COLUMNS} FROM ballots WHERE annotator = ? AND item = ? AND undone_at IS NULL",  # noqa: S608
        (ballot.annotator, ballot.item),
    ).fetchone()
    if there is not None:
        return Cast(_ballot(there), repeated=True)
    added = database.execute(
        f"INSERT INTO ballots (annotator, item, answer, shown, comment, seconds, cast_at) "  # noqa: S608
        f"VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING {_COLUMNS}",
        (ballot.annotator, ballot.item, ballot.answer, ballot.shown, ballot.comment,
         ballot.seconds, ballot.cast_at),
    ).fetchone()  # fmt: skip
    return Cast(_ballot(added), repeated=False)


def _undo(database: sqlite3.Connection, annotator: str, number: int, at: str) -> Ballot | None:
    row = database.execute(
        f"UPDATE ballots SET undone_at = ? WHERE id = ? AND annotator = ? AND undone_at IS NULL "  # noqa: S608
        f"RETURNING {_COLUMNS}",
        (at, number, annotator),
    ).fetchone()
    return None if row is None else _ballot(row)


def _ballot(row: tuple[Any, ...]) -> Ballot:
    return Ballot(*row)
