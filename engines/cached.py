"""An engine that remembers what it sampled: nothing is generated twice, whoever asks.

The key is everything that decides a draw (see `Engine.sample`): the engine's fingerprint (weights,
tokenizer, engine, dtype), the conversation, the decoding parameters and the index of the draw. A
model's name is no part of it: two models that share a name share nothing here.
"""

from __future__ import annotations

import sqlite3
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from core.errors import DataError, disk_errors_named
from core.hashing import sha256_json
from engines.engine import Sampled, decoding_of, plain_prompt

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from engines.engine import Continuation, Decoding, Engine, Logprob, Request

_TABLE = """CREATE TABLE IF NOT EXISTS draws (
    key TEXT PRIMARY KEY, text TEXT NOT NULL, tokens INTEGER NOT NULL, finish TEXT NOT NULL)"""


class CachedEngine:
    """Wraps an engine; draws found in the file are not sampled again. Scores are not kept."""

    def __init__(self, engine: Engine, file: Path) -> None:
        """Open (or create) the cache.

        Raises:
            DataError: the file is not such a cache.
        """
        self._engine, self._file = engine, file
        self.fingerprint = engine.fingerprint
        with disk_errors_named(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._connection = sqlite3.connect(file)
                self._connection.execute("PRAGMA journal_mode=WAL")
                self._connection.execute(_TABLE)
            except sqlite3.DatabaseError as error:
                raise DataError(file, None, f"not a cache of draws ({error}); remove it") from None

    def sample(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Sampled]:
        """Yield remembered draws first, then sample the others and remember each as it finishes."""
        missing, keys = [], {}
        for request in requests:
            absent = []
            for draw in request.draws:
                key = self._key(request, decoding, draw)
                keys[request.key, draw] = key
                found = self._find(key)
                if found is None:
                    absent.append(draw)
                else:
                    yield Sampled(request.key, draw, *found)  # type: ignore[arg-type]
            if absent:
                missing.append(replace(request, draws=tuple(absent)))
        for sampled in self._engine.sample(missing, decoding):
            self._keep(keys[sampled.key, sampled.draw], sampled)
            yield sampled

    def score(self, requests: Sequence[Continuation]) -> list[Logprob]:
        """Pass the call on."""
        return self._engine.score(requests)

    def _key(self, request: Request, decoding: Decoding, draw: int) -> str:
        plain = plain_prompt(request.messages)
        return sha256_json([self.fingerprint, plain, asdict(decoding_of(request, decoding)), draw])

    def _find(self, key: str) -> tuple[str, int, str] | None:
        query = "SELECT text, tokens, finish FROM draws WHERE key = ?"
        row: tuple[str, int, str] | None = self._connection.execute(query, (key,)).fetchone()
        return None if row is None else (row[0], row[1], row[2])

    def _keep(self, key: str, sampled: Sampled) -> None:
        row = (key, sampled.text, sampled.tokens, sampled.finish)
        with disk_errors_named(self._file), self._connection:
            self._connection.execute("INSERT OR REPLACE INTO draws VALUES (?, ?, ?, ?)", row)
