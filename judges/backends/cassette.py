"""Every request to a judge and its reply, in one SQLite file: paid for once, replayed for ever.

A reply is on the disk when `put` returns (rollback journal, synchronous=FULL), so that kill -9 and
a power cut lose only what was under way. Keys and headers never reach this module.
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
import threading
from contextlib import contextmanager
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from core.errors import DataError, StorageError
from core.hashing import sha256_json
from core.jsonl import read_objects, write_lines
from judges.asking import Reply

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from types import TracebackType

_VERSION = 1
_BUSY_TIMEOUT_S = 60.0  # another process may be recording into the same file
_TABLE = """CREATE TABLE IF NOT EXISTS replies (
    key TEXT PRIMARY KEY,      -- sha256 of the request
    request TEXT NOT NULL,     -- JSON: Ask.identity
    reply TEXT NOT NULL,       -- JSON: Reply without its key
    recorded_at TEXT NOT NULL, -- UTC
    cost_usd REAL NOT NULL
) WITHOUT ROWID"""
_COLUMNS = ("key", "request", "reply", "recorded_at", "cost_usd")
_FIELDS = {field.name for field in fields(Reply)} - {"key"}


class Recording(NamedTuple):
    """A recorded reply (its `key` is empty) and what it cost when it was asked for."""

    reply: Reply
    cost_usd: float


class Cassette:
    """One file of recordings; usable from several threads. Close it, or use it as a context."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open the file, creating it unless `read_only`.

        Raises:
            DataError: it is no cassette or is damaged; or, read-only, it does not exist.
            StorageError: the disk refuses.
        """
        self.path = path
        self._lock = threading.RLock()
        if read_only and not path.is_file():
            what = "no such cassette: record one by running without evaluation.judge.replay"
            raise DataError(path, None, what)
        with self._named_errors():
            if not read_only:
                path.parent.mkdir(parents=True, exist_ok=True)
            # A writable file is opened for writing even to be replayed: only then can SQLite clear
            # up after a process that was killed. query_only keeps the contents as they are.
            mode = "rwc" if not read_only else "rw" if os.access(path, os.W_OK) else "ro"
            self._connection = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode={mode}",
                uri=True,
                timeout=_BUSY_TIMEOUT_S,
                isolation_level=None,
                check_same_thread=False,
            )
            try:
                self._prepare(read_only=read_only)
            except BaseException:
                self._connection.close()
                raise

    def __enter__(self) -> Self:
        """Return the open cassette."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()

    def __len__(self) -> int:
        return int(self._rows("SELECT count(*) FROM replies")[0][0])

    def close(self) -> None:
        """Close the file; everything recorded is in it already."""
        with self._lock:
            self._connection.close()

    def get(self, request: dict[str, Any]) -> Recording | None:
        """Return what was recorded for a request (`Ask.identity`), None if nothing was.

        Raises:
            DataError: the row is damaged.
        """
        key = sha256_json(request)
        rows = self._rows("SELECT reply, cost_usd FROM replies WHERE key = ?", (key,))
        return Recording(self._reply(key, rows[0][0]), rows[0][1]) if rows else None

    def put(self, request: dict[str, Any], reply: Reply, *, cost_usd: float) -> None:
        """Record a reply; it is on the disk on return. The first recording of a request stays.

        Raises:
            ValueError: the reply is a failure: nothing was said.
            StorageError: the disk refuses.
        """
        if reply.finish == "failed":
            raise ValueError(f"{reply.key}: a failed request is never recorded")
        said = asdict(reply)
        del said["key"]
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._insert([(sha256_json(request), _json(request), _json(said), now, cost_usd)])

    def cost_usd(self, judge: str | None = None) -> float:
        """Return what all recordings, or those of one judge's identity, cost together."""
        rows = self._rows("SELECT request, cost_usd FROM replies WHERE cost_usd > 0")
        costs = (float(c) for text, c in rows if judge in (None, json.loads(text)["judge"]))
        return math.fsum(costs)

    def export(self, path: Path) -> int:
        """Write all recordings as JSON lines, sorted by key; return how many.

        The same recordings give the same bytes, so that two exports can be compared.
        """
        rows = self._rows(f"SELECT {', '.join(_COLUMNS)} FROM replies ORDER BY key")  # noqa: S608
        write_lines(
            path,
            (
                _json(dict(zip(_COLUMNS, (k, json.loads(q), json.loads(r), *rest), strict=True)))
                for k, q, r, *rest in rows
            ),
        )
        return len(rows)

    def import_(self, path: Path) -> int:
        """Add the recordings of an export; return how many were new. Those here already stay.

        Raises:
            DataError: a line is not a recording; nothing is added then.
        """
        rows = [self._decoded(path, line, raw) for line, raw in read_objects(path)]
        return self._insert(rows)

    def _prepare(self, *, read_only: bool) -> None:
        found = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise sqlite3.DatabaseError(found)
        if read_only:
            self._connection.execute("PRAGMA query_only = ON")
            self._check_version(new=False)
            return
        self._connection.execute("PRAGMA synchronous = FULL")
        with self._transaction():  # two processes may create it at once
            self._check_version(new=True)
            self._connection.execute(_TABLE)
            self._connection.execute(f"PRAGMA user_version = {_VERSION}")

    def _check_version(self, *, new: bool) -> None:
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        tables = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if version != _VERSION and not (new and version == tables == 0):
            raise sqlite3.DatabaseError(f"expected a cassette of version {_VERSION}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _insert(self, rows: Iterable[tuple[str, str, str, str, float]]) -> int:
        with self._lock, self._named_errors():
            before = self._connection.total_changes
            with self._transaction():
                self._connection.executemany(
                    "INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?, ?)", rows
                )
            return self._connection.total_changes - before

    def _rows(self, query: str, values: tuple[str, ...] = ()) -> list[Any]:
        with self._lock, self._named_errors():
            return self._connection.execute(query, values).fetchall()

    def _reply(self, key: str, text: str) -> Reply:
        try:
            return Reply(key="", **json.loads(text))
        except (TypeError, ValueError) as error:
            raise DataError(self.path, None, f"recording {key}: damaged ({error})") from None

    def _decoded(
        self, path: Path, line: int, raw: dict[str, Any]
    ) -> tuple[str, str, str, str, float]:
        if set(raw) != set(_COLUMNS) or not isinstance(raw["request"], dict):
            what = f"not a recording: expected the fields {', '.join(_COLUMNS)}"
            raise DataError(path, line, what)
        if sha256_json(raw["request"]) != raw["key"]:
            raise DataError(path, line, "the key is not the hash of the request: edited by hand?")
        if not isinstance(raw["reply"], dict) or set(raw["reply"]) != _FIELDS:
            raise DataError(path, line, f"reply: expected the fields {', '.join(sorted(_FIELDS))}")
        if not isinstance(raw["cost_usd"], int | float) or not isinstance(raw["recorded_at"], str):
            raise DataError(path, line, "cost_usd must be a number and recorded_at a time")
        return (
            raw["key"],
            _json(raw["request"]),
            _json(raw["reply"]),
            raw["recorded_at"],
            float(raw["cost_usd"]),
        )

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Say which file SQLite is complaining about, and whether it or the disk is at fault."""
        try:
            yield
        except OSError as error:
            raise StorageError(f"{self.path}: {error.strerror or error}") from error
        except sqlite3.ProgrammingError:  # a mistake of the caller: used after close
            raise
        except sqlite3.OperationalError as error:
            message = f"{self.path}: {error}; what was recorded is kept: run the same command again"
            raise StorageError(message) from error
        except sqlite3.DatabaseError as error:
            what = f"damaged, or not a cassette ({error}); move it away, or restore it from a copy"
            raise DataError(self.path, None, what) from error


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
