"""An engine with a persistent cache of its draws: nothing is generated twice.

The cache key is everything that decides a draw (see `Engine.sample`): the engine's fingerprint
(weights, tokenizer, engine, dtype), the conversation, the decoding parameters and the draw index. A
model's name is not part of it, so models of the same name do not share draws.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from core.hashing import sha256_json
from core.sqlite import Database
from engines.engine import Sampled, decoding_of, plain_prompt

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from engines.engine import Continuation, Decoding, Engine, Finish, Logprob, Request

_TABLE = """CREATE TABLE IF NOT EXISTS draws (
    key TEXT PRIMARY KEY, text TEXT NOT NULL, tokens INTEGER NOT NULL, finish TEXT NOT NULL)"""


class CachedEngine:
    """Wraps an engine; draws found in the file are not sampled again. Scores are not cached."""

    def __init__(self, engine: Engine, file: Path) -> None:
        """Open (or create) the cache; raises `DataError` if the file is not one."""
        self._engine = engine
        self.fingerprint = engine.fingerprint
        self._database = Database(file, "a cache of draws", schema=[_TABLE], wal=True)

    def sample(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Sampled]:
        """Yield cached draws first, then sample the others and cache each as it finishes."""
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
                    yield Sampled(request.key, draw, *found)
            if absent:
                missing.append(replace(request, draws=tuple(absent)))
        for sampled in self._engine.sample(missing, decoding):
            self._keep(keys[sampled.key, sampled.draw], sampled)
            yield sampled

    def score(self, requests: Sequence[Continuation]) -> list[Logprob]:
        """Pass the call on."""
        return self._engine.score(requests)

    def _key(self, request: Request, decoding: Decoding, draw: int) -> str:
        plain, how = plain_prompt(request.messages), asdict(decoding_of(request, decoding))
        del how["max_thinking_tokens"]  # the engine's own: part of its fingerprint
        return sha256_json([self.fingerprint, plain, how, draw])

    def _find(self, key: str) -> tuple[str, int, Finish] | None:
        query = "SELECT text, tokens, finish FROM draws WHERE key = ?"
        rows: list[tuple[str, int, Finish]] = self._database.rows(query, (key,))
        return rows[0] if rows else None

    def _keep(self, key: str, sampled: Sampled) -> None:
        row = (key, sampled.text, sampled.tokens, sampled.finish)
        self._database.change("INSERT OR REPLACE INTO draws VALUES (?, ?, ?, ?)", [row])
