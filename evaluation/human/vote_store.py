"""The annotators' answers in one SQLite file; an acknowledged answer is never lost.

A submission is committed to disk (WAL, synchronous=FULL) before the server responds. One thread
writes; submissions that arrive during a commit share the next one. Rows are never overwritten:
undoing marks a submission, and the new answer is another row.
"""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from core.errors import DataError, StorageError
from core.sqlite import Database

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

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
_KIND = "a database of annotators' answers"
_COLUMNS = "annotator, item, answer, shown, comment, seconds, cast_at, undone_at, id"
_SELECT = f"SELECT {_COLUMNS} FROM ballots"  # noqa: S608
_COUNTS = "undone_at IS NULL"
_MOST_PER_COMMIT = 256


@dataclass(frozen=True, slots=True)
class Submission:
    """One annotator's answer to one item. `number` is None until it is stored."""

    annotator: str
    item: str
    answer: str
    shown: str
    comment: str
    seconds: float
    submitted_at: str
    undone_at: str | None = None
    number: int | None = None


class Saved(NamedTuple):
    """The submission that counts for an item, and whether it was stored before."""

    submission: Submission
    repeated: bool


class _Job(NamedTuple):
    """A pending write and its future."""

    work: Callable[[sqlite3.Connection], Any]
    result: Future[Any]


class VoteStore:
    """The submissions of one study. A context manager; its methods are thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="submissions", daemon=True)

    def __enter__(self) -> Self:
        """Open or create the file, and start the writing thread; raises as `Database`."""
        self._reader = Database(self._path, _KIND, schema=_SCHEMA, wal=True)
        self._writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Write the queued submissions, then close."""
        self._jobs.put(None)
        self._writer.join()
        self._reader.close()

    def save(self, submission: Submission) -> Future[Saved]:
        """Store a submission; the future resolves once it is on disk.

        A second submission of the same annotator for the same item is ignored: the first one is
        returned as repeated.
        """
        return self._submit(lambda database: _insert(database, submission))

    def undo(self, annotator: str, number: int, at: str) -> Future[Submission | None]:
        """Mark a submission as undone; None if the annotator has no valid one of that number."""
        return self._submit(lambda database: _undo(database, annotator, number, at))

    def of(self, annotator: str) -> dict[str, Submission]:
        """Return an annotator's valid submissions by item, in the order of submission."""
        rows = self._reader.rows(
            f"{_SELECT} WHERE annotator = ? AND {_COUNTS} ORDER BY id", (annotator,)
        )
        return {row[1]: Submission(*row) for row in rows}

    def _submit(self, work: Callable[[sqlite3.Connection], Any]) -> Future[Any]:
        result: Future[Any] = Future()
        result.set_running_or_notify_cancel()  # it can no longer be cancelled
        self._jobs.put(_Job(work, result))
        return result

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
            problem = StorageError(f"{self._path}: {reason}; nothing was stored, try again")
            for job in jobs:
                job.result.set_exception(problem)
            return
        for job, result in zip(jobs, done, strict=True):
            job.result.set_result(result)


def read_submissions(path: Path, *, undone: bool = False) -> list[Submission]:
    """Return all valid submissions (with `undone` also the undone ones) in order of submission.

    The file is opened read-only, so a server may be writing to it. No file: no submissions.

    Raises:
        DataError: the file is not such a database.
    """
    if not path.is_file():
        return []
    where = "" if undone else f"WHERE {_COUNTS} "
    with Database(path, _KIND, wal=True, read_only=True) as database:
        return [Submission(*row) for row in database.rows(f"{_SELECT} {where}ORDER BY id")]


def _insert(database: sqlite3.Connection, new: Submission) -> Saved:
    stored = database.execute(
        f"{_SELECT} WHERE annotator = ? AND item = ? AND {_COUNTS}", (new.annotator, new.item)
    ).fetchone()
    if stored is not None:
        return Saved(Submission(*stored), repeated=True)
    added = database.execute(
        f"INSERT INTO ballots (annotator, item, answer, shown, comment, seconds, cast_at) "  # noqa: S608
        f"VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING {_COLUMNS}",
        astuple(new)[:7],
    ).fetchone()
    return Saved(Submission(*added), repeated=False)


def _undo(database: sqlite3.Connection, annotator: str, number: int, at: str) -> Submission | None:
    row = database.execute(
        f"UPDATE ballots SET undone_at = ? WHERE id = ? AND annotator = ? AND {_COUNTS} "  # noqa: S608
        f"RETURNING {_COLUMNS}",
        (at, number, annotator),
    ).fetchone()
    return None if row is None else Submission(*row)
