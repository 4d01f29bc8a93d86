"""Recorded requests to a judge and its replies, in one SQLite file.

A reply is on the disk when `put` returns (rollback journal, synchronous=FULL), so that kill -9 and
a power cut lose only requests in flight. API keys and headers never reach this module.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from core.errors import DataError
from core.hashing import sha256_json
from core.jsonl import read_objects, write_lines
from core.sqlite import Database
from judges.asking import Reply

if TYPE_CHECKING:
    from pathlib import Path

    from judges.asking import Ask

_VERSION = 1
_TABLE = """CREATE TABLE IF NOT EXISTS replies (
    key TEXT PRIMARY KEY,      -- sha256 of the request
    request TEXT NOT NULL,     -- JSON: Ask.identity
    reply TEXT NOT NULL,       -- JSON: Reply without its key
    recorded_at TEXT NOT NULL, -- UTC
    cost_usd REAL NOT NULL
) WITHOUT ROWID"""
# The first recording stays, but for one that its token limit cut.
_INSERT = """INSERT INTO replies VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET
    reply = excluded.reply, recorded_at = excluded.recorded_at,
    cost_usd = cost_usd + excluded.cost_usd
    WHERE json_extract(reply, '$.finish') = 'length' AND
    coalesce(json_extract(reply, '$.limit'), 0) < json_extract(excluded.reply, '$.limit')"""
_COLUMNS = ("key", "request", "reply", "recorded_at", "cost_usd")
_FIELDS = {field.name for field in fields(Reply)} - {"key"}
_LATER = {"thought", "limit", "adapted"}  # fields that earlier recordings lack


class Recording(NamedTuple):
    """A recorded reply (its `key` is empty) and what it cost when it was asked for."""

    reply: Reply
    cost_usd: float


class Cassette:
    """One file of recordings; usable from several threads. Close it, or use it as a context."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open the file, creating it unless `read_only`.

        Raises:
            DataError: it is not a cassette or is damaged; or, read-only, it does not exist.
            StorageError: the disk refuses.
        """
        self.path = path
        if read_only and not path.is_file():
            what = "no such cassette: record one by running without evaluation.judge.replay"
            raise DataError(path, None, what)
        self._database = Database(
            path, "a cassette", schema=[_TABLE], version=_VERSION, read_only=read_only
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return int(self._database.rows("SELECT count(*) FROM replies")[0][0])

    def close(self) -> None:
        """Close the file; everything recorded is in it already."""
        self._database.close()

    def get(self, request: dict[str, Any]) -> Recording | None:
        """Return the recording of a request (`Ask.identity`), None if there is none.

        Raises:
            DataError: the row is damaged.
        """
        key = sha256_json(request)
        rows = self._database.rows("SELECT reply, cost_usd FROM replies WHERE key = ?", (key,))
        return Recording(self._reply(key, rows[0][0]), rows[0][1]) if rows else None

    def final(self, ask: Ask, judge: str) -> Recording | None:
        """Return the recording of a request, unless its limit cut it and `ask` allows more."""
        found = self.get(ask.identity(judge))
        if found is None or found.reply.finish != "length":
            return found
        return found if (found.reply.limit or ask.max_new_tokens) >= ask.limit else None

    def put(self, request: dict[str, Any], reply: Reply, *, cost_usd: float) -> None:
        """Record a reply; it is on the disk on return.

        The first recording of a request stays, unless its limit cut it and this one had more.

        Raises:
            ValueError: the reply is a failure.
            StorageError: the disk refuses.
        """
        if reply.finish == "failed":
            raise ValueError(f"{reply.key}: a failed request is never recorded")
        recorded = asdict(reply)
        del recorded["key"]
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        row = (sha256_json(request), _json(request), _json(recorded), now, cost_usd)
        self._database.change(_INSERT, [row])

    def cost_usd(self, judge: str | None = None) -> float:
        """Return what all recordings, or those of one judge's identity, cost together."""
        rows = self._database.rows("SELECT request, cost_usd FROM replies WHERE cost_usd > 0")
        costs = (float(c) for text, c in rows if judge in (None, json.loads(text)["judge"]))
        return math.fsum(costs)

    def export(self, path: Path) -> int:
        """Write all recordings as JSON lines, sorted by key; return how many.

        The same recordings give the same bytes, so that two exports can be compared.
        """
        rows = self._database.rows(f"SELECT {', '.join(_COLUMNS)} FROM replies ORDER BY key")  # noqa: S608
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
        return self._database.change(_INSERT, rows)

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
        if not isinstance(raw["reply"], dict) or set(raw["reply"]) | _LATER != _FIELDS:
            raise DataError(
                path, line, f"reply: expected the fields {', '.join(sorted(_FIELDS - _LATER))}"
            )
        if not isinstance(raw["cost_usd"], int | float) or not isinstance(raw["recorded_at"], str):
            raise DataError(path, line, "cost_usd must be a number and recorded_at a time")
        return (
            raw["key"],
            _json(raw["request"]),
            _json(raw["reply"]),
            raw["recorded_at"],
            float(raw["cost_usd"]),
        )


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
