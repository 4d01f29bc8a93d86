"""The engines of a run: loaded on first use, the most recent kept, every call logged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from core.append_log import AppendLog
from core.hashing import sha256_json
from engines.models import release_memory
from engines.opening import close_engine, open_engine
from engines.ray.engine import RayEngine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from core.config import Config
    from core.stages import Ref
    from core.store import Store
    from engines.engine import Continuation, Decoding, Engine, Logprob, Request, Sampled

# vLLM and servers reserve their memory when they start: one at a time.
_KEPT = {"transformers": 2, "vllm": 1, "openai": 1}


class EnginePool:
    """Opens engines over model folders."""

    def __init__(self, config: Config, store: Store) -> None:
        self._config, self._store = config, store
        self._engines: dict[tuple[Path, str], Engine] = {}

    def model(
        self, model: Ref, stage: Ref, *, variables: Mapping[str, Any] | None = None
    ) -> Engine:
        """Return the engine over a model artifact; its calls are logged under `stage`.

        `variables` as of `folder`.

        Raises:
            MissingArtifact: the model has not been made.
            StaleArtifact: its files were altered.
        """
        self._store.verify(model)
        manifest = self._store.manifest(model)
        folder = self._store.model(model)
        return self.folder(folder, stage, weights_sha256=manifest.sha256, variables=variables)

    def folder(
        self,
        folder: Path,
        stage: Ref,
        *,
        weights_sha256: str | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> Engine:
        """Return the engine over a model folder.

        `variables` of its chat template, where they differ from those of the run's models.
        """
        models = self._config.model
        variables = models.chat_template_kwargs | dict(variables or {})
        place = (folder, sha256_json(variables))
        engine = self._engines.pop(place, None)
        if engine is None:
            section = self._config.engine
            # A Ray pool may take the whole cluster: one at a time.
            kept = 1 if section.ray.workers else _KEPT[section.kind]
            while len(self._engines) >= kept:
                self.forget(next(iter(self._engines))[0])  # the least recently used
            open_it = RayEngine if section.ray.workers else open_engine
            engine = open_it(
                folder,
                section,
                weights_sha256=weights_sha256,
                trust_remote_code=models.trust_remote_code,
                date=models.date,
                chat_template_kwargs=variables,
                max_thinking_tokens=models.max_thinking_tokens,
            )
        self._engines[place] = engine
        return CallLog(engine, self._store.paths.calls, stage)

    def forget(self, folder: Path) -> None:
        """Close an engine whose folder is about to change or be deleted."""
        for place in [place for place in self._engines if place[0] == folder]:
            close_engine(self._engines.pop(place))
            release_memory()

    def clear(self) -> None:
        """Close all engines to free their memory."""
        for folder in {place[0] for place in self._engines}:
            self.forget(folder)


class CallLog:
    """An engine that logs each row it yields: evidence that nothing was generated twice."""

    def __init__(self, engine: Engine, file: Path, stage: Ref) -> None:
        self._engine, self._file, self._stage = engine, file, str(stage)
        self.fingerprint = engine.fingerprint

    def sample(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Sampled]:
        """Yield the engine's rows, writing one line for each."""
        if not requests:
            return
        engine_key = sha256_json(self.fingerprint)[:12]
        with AppendLog(self._file, read=False) as log:
            for sampled in self._engine.sample(requests, decoding):
                line = {
                    "stage": self._stage,
                    "key": sampled.key,
                    "draw": sampled.draw,
                    "tokens": sampled.tokens,
                    "finish": sampled.finish,
                    "engine": engine_key,
                }
                log.append(json.dumps(line))
                yield sampled

    def score(self, requests: Sequence[Continuation]) -> list[Logprob]:
        """Pass the call on."""
        return self._engine.score(requests)
