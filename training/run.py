"""One run: its artifacts, its engines, and the rule that nothing is made twice."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from core.errors import ConfigError
from core.making import artifact_key, by_key, locked_run, make_rows
from core.progress import duration, say
from core.stages import SFT_BASELINE, SPECS, Ref, model_ref, stages_of
from core.store import Built, Key, Store, write_atomically
from engines.pool import EnginePool
from judges.rubrics import rubric_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from core.config import Config
    from core.store import Partial
    from engines.engine import Engine


MODEL_NAMES = ("self", "previous", "base", "sft", "m1")


class Training(NamedTuple):
    """What a training stage needs to know about where it runs."""

    work: Path
    metrics: Path
    verdicts: Path
    device: str
    title: str


class Run:
    """Makes the artifacts of one run folder. Use inside `with open_run(config)`."""

    def __init__(self, config: Config) -> None:
        """Open the run; nothing is loaded."""
        self.config = config
        self.store = Store(config.folder)
        self._engines = EnginePool(config, self.store)

    def key(
        self, ref: Ref, inputs: Sequence[Ref], sections: Sequence[str], sources: dict[str, str]
    ) -> Key:
        """Return what the artifact depends on: contents of its inputs, settings, seed."""
        read = (*SPECS[ref.stage].sections, *sections)
        if "judge.rubric" in read:
            sources = sources | rubric_source(self.config.judge.rubric)
        return artifact_key(self.store, self.config, inputs, read, sources)

    def rows(
        self,
        ref: Ref,
        inputs: Sequence[Ref],
        make: Callable[[Partial], Built],
        *,
        sources: dict[str, str] | None = None,
        order: Callable[[Any], Any] = by_key,
    ) -> Ref:
        """Make a row artifact unless it is there already, continuing an unfinished one.

        Raises:
            StaleArtifact: it is there but was made from something else.
        """
        make_rows(self.store, ref, self.key(ref, inputs, (), sources or {}), make, order=order)
        return ref

    def model(
        self,
        ref: Ref,
        inputs: Sequence[Ref],
        make: Callable[[Training], tuple[Path, Built]],
        *,
        sections: Sequence[str] = (),
        sources: dict[str, str] | None = None,
    ) -> Ref:
        """Make a model artifact unless it is there already, going on from its last checkpoint.

        Raises:
            StaleArtifact: it is there but was made from something else.
        """
        key = self.key(ref, inputs, sections, sources or {})
        if self.store.is_current(ref, key):
            return ref
        began = time.monotonic()
        name = SPECS[ref.stage].title if ref.stage.value != "model" else f"M{ref.iteration}"
        say(f"{ref}: {name}")
        self.release_engines()
        paths = self.store.paths
        place = Training(
            self.store.begin_model(ref, key),
            paths.metrics(ref),
            paths.verdicts(ref),
            self._device(),
            name,
        )
        built, result = make(place)
        manifest = self.store.commit_model(ref, key, built, result)
        say(f"  {name} done in {duration(time.monotonic() - began)} ({manifest.sha256[:12]})")
        return ref

    def _device(self) -> str:
        if self.config.engine.device != "auto":
            return self.config.engine.device
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    def read(self, ref: Ref) -> list[Any]:
        """Return a complete artifact's rows."""
        return self.store.read(ref)

    def engine(self, model: Ref, stage: Ref) -> Engine:
        """Return the engine over a model artifact; its calls are journalled as `stage`'s."""
        return self._engines.model(model, stage)

    def engine_at(self, folder: Path, stage: Ref, *, weights_sha256: str | None = None) -> Engine:
        """Return the engine over a model folder, keeping the two used last in memory."""
        return self._engines.folder(folder, stage, weights_sha256=weights_sha256)

    def forget_engine(self, folder: Path) -> None:
        """Drop an engine whose folder is about to change or go."""
        self._engines.forget(folder)

    def release_engines(self) -> None:
        """Let go of every engine: training needs the memory."""
        self._engines.clear()

    def remake(self, ref: Ref) -> None:
        """Remove an artifact and all that was made from it, so that it is made again.

        Repeating the command of a redo that was killed goes on with it and removes nothing.
        """
        note = {"redo": str(ref), "config": self.config.model_dump(mode="json")}
        path = self.store.paths.redo
        if path.exists() and json.loads(path.read_text(encoding="utf-8")) == note:
            say(f"going on with the unfinished --redo {ref}")
            return
        everything = [
            Ref(k, stage) for k in range(self._last_iteration() + 1) for stage in stages_of(k)
        ]
        gone = self.store.remove(self.store.dependents(ref, everything))
        write_atomically(path, json.dumps(note) + "\n")
        say(f"removed: {', '.join(map(str, gone)) or 'nothing was there'}")

    def remade(self) -> None:
        """Note that everything asked for is there."""
        self.store.paths.redo.unlink(missing_ok=True)

    def _last_iteration(self) -> int:
        there = [
            int(p.name.removeprefix("iter"))
            for p in self.store.paths.root.glob("iter*")
            if p.name.removeprefix("iter").isdigit()
        ]
        return max([self.config.iterations, *there])

    def named_model(self, name: str, k: int) -> Ref:
        """Return the model artifact that a setting names, as seen from iteration k.

        Raises:
            ConfigError: the name means nothing here.
        """
        known = dict(
            zip(
                MODEL_NAMES,
                (model_ref(k - 1), model_ref(k - 1), model_ref(0), SFT_BASELINE, model_ref(1)),
                strict=True,
            )
        )
        if name not in known:
            message = f"{name!r} names no model of this run; use one of {', '.join(known)}"
            raise ConfigError(message)
        return known[name]


@contextmanager
def open_run(config: Config) -> Iterator[Run]:
    """Lock the run's folder and write its resolved configuration there.

    Raises:
        RunLocked: another process is working on it.
    """
    with locked_run(config):
        yield Run(config)


def warn(problems: Sequence[str]) -> None:
    """Print problems that the configuration says to live with."""
    for problem in problems:
        say(f"  warning: {problem}")
