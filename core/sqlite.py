"""SQLite files: opened, checked, shared between threads, with errors that name the file."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from core.errors import DataError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

_BUSY_TIMEOUT_S = 60.0  # another process may be writing to the same file


class Database:
    """One SQLite database, usable from several threads. Close it, or use it as a context.

    What `change` and `transaction` wrote is on the disk when they return (synchronous=FULL), so
    that kill -9 and a power cut lose only what was under way.
    """

    def __init__(
        self,
        path: Path | None,
        kind: str,
        *,
        schema: Sequence[str] = (),
        version: int = 0,
        wal: bool = False,
        read_only: bool = False,
    ) -> None:
        """Open the file, creating it unless `read_only`.

        Args:
            path: the file; None for a temporary database that is private to this object.
            kind: what the file is, for messages: "a cassette".
            schema: statements that create the tables where they do not exist yet.
            version: the file's user_version; a file of another version, or one that fails SQLite's
                quick check, is refused. 0 for files without a version, which are not checked.
            wal: write-ahead logging: readers do not wait for a writer.
            read_only: leave the contents as they are.

        Raises:
            DataError: the file is damaged or of another kind or version.
            StorageError: it cannot be opened or written.
        """
        self.path, self._kind, self._version = path, kind, version
        self._lock = threading.RLock()
        with self._named_errors():
            self._connection = self._connect(path, wal=wal, read_only=read_only)
            try:
                self._prepare(schema, wal=wal, read_only=read_only)
            except BaseException:
                self._connection.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; everything committed is in it already."""
        with self._lock:
            self._connection.close()

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return all rows of a query."""
        with self._lock, self._named_errors():
            return self._connection.execute(sql, values).fetchall()

    def change(self, sql: str, rows: Iterable[Sequence[Any]] = ((),)) -> int:
        """Run a statement once per row, in one transaction; return how many rows it changed."""
        with self.transaction() as connection:
            before = connection.total_changes
            connection.executemany(sql, rows)
            return connection.total_changes - before

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold the write lock: commit at the end, roll back on an error.

        Raises:
            StorageError: the disk refuses, or another process holds the lock for too long.
        """
        with self._lock, self._named_errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @staticmethod
    def _connect(path: Path | None, *, wal: bool, read_only: bool) -> sqlite3.Connection:
        if path is not None and not read_only:
            path.parent.mkdir(parents=True, exist_ok=True)
        # A writable file with a rollback journal is opened for writing even to be read: only then
        # can SQLite clear up after a process that was killed. query_only keeps the contents.
        clears_up = path is not None and not wal and os.access(path, os.W_OK)
        mode = "rwc" if not read_only else "rw" if clears_up else "ro"
        return sqlite3.connect(
            f"{path.resolve().as_uri()}?mode={mode}" if path else "",
            uri=path is not None,
            timeout=_BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
        )

    def _prepare(self, schema: Sequence[str], *, wal: bool, read_only: bool) -> None:
        if self._version:
            found = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise sqlite3.DatabaseError(found)
        if read_only:
            self._connection.execute("PRAGMA query_only = ON")
            self._check_version(new=False)
            return
        if wal:
            self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        with self.transaction():  # two processes may create it at once
            self._check_version(new=True)
            for statement in schema:
                self._connection.execute(statement)
            if self._version:
                self._connection.execute(f"PRAGMA user_version = {self._version}")

    def _check_version(self, *, new: bool) -> None:
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        tables = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if version != self._version and not (new and version == tables == 0):
            raise sqlite3.DatabaseError(f"expected {self._kind} of version {self._version}")

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Say which file SQLite is complaining about, and whether it or the disk is at fault."""
        try:
            yield
        except OSError as error:
            raise StorageError(f"{self.path}: {error.strerror or error}") from error
        except sqlite3.ProgrammingError:  # a mistake of the caller: used after close
            raise
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", None)
            if isinstance(error, sqlite3.OperationalError) and code != sqlite3.SQLITE_ERROR:
                message = (
                    f"{self.path}: {error}; what was committed before is kept: run the same "
                    "command again"
                )
                raise StorageError(message) from error
            what = (
                f"damaged, or not {self._kind} ({error}); move it away, or restore it from a copy"
            )
            raise DataError(self.path or self._kind, None, what) from error
