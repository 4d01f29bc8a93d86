"""A training run: its artifacts, its engines, and the rule that nothing is made twice."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from core.errors import ConfigError, StaleArtifact
from core.making import artifact_key, by_key, locked_run, make_rows
from core.progress import duration, say
from core.reuse import take
from core.stages import (
    SFT_BASELINE,
    SPECS,
    Ref,
    Stage,
    is_model_name,
    model_ref,
    named_model,
    stages_of,
)
from core.store import Built, Key, Store, write_atomically
from engines.models import pick_device
from engines.pool import EnginePool
from judges.rubrics import rubric_source
from training.trainers.job import TrainingJob

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from core.config import Config, DpoSection, SftSection
    from core.store import Partial


MODEL_NAMES = ("self", "previous", "base", "sft", "m1")
"""Models that settings may name; see `Run.named_model`."""


EXTERNAL = "external"
"""The name of the evaluation's judge as the judge of checkpoints or candidates."""
VERIFIER = "verifier"
"""The name of the program that knows the right answers, as the judge of candidates."""


def is_run_model(name: str) -> bool:
    """Whether a setting names a model of the run: "self", "sft", "M1", ..."""
    return name in MODEL_NAMES or is_model_name(name)


class Run:
    """Makes the artifacts of one run folder. Use inside `with open_run(config)`."""

    def __init__(
        self, config: Config, *, redo_stale: bool = False, reuse: Sequence[Path] = ()
    ) -> None:
        """`redo_stale`: remove what is stale, and what was made from it, instead of refusing.

        `reuse`: run folders whose artifacts are taken where their keys are the same.
        """
        self.config, self._whole, self._redo_stale = config, config, redo_stale
        self.store = Store(config.folder, reuse)
        self.engines = EnginePool(config, self.store)

    def at(self, k: int) -> Run:
        """Return this run with the settings of iteration k (`Config.at`)."""
        other = copy(self)
        other.config = self._whole.at(k)
        return other

    def key(
        self,
        ref: Ref,
        inputs: Sequence[Ref],
        sections: Sequence[str],
        sources: dict[str, str],
        config: Config | None = None,
        *,
        only: Sequence[str] | None = None,
    ) -> Key:
        """Return what the artifact depends on: contents of its inputs, settings, seed.

        `sections` come on top of the stage's own; `only` are in their place.
        """
        read = (*(SPECS[ref.stage].sections if only is None else only), *sections)
        if "judge.rubric" in read:
            sources = sources | rubric_source(self.config.judge.rubric)
        return artifact_key(self.store, config or self.config, inputs, read, sources)

    def rows(
        self,
        ref: Ref,
        inputs: Sequence[Ref],
        make: Callable[[Partial], Built],
        *,
        sources: dict[str, str] | None = None,
        sections: Sequence[str] | None = None,
        order: Callable[[Any], Any] = by_key,
    ) -> Ref:
        """Make a row artifact unless it exists, resuming an unfinished one; raises as `model`.

        `sections`: the settings for its key, instead of the stage's own (core/stages.py).
        """
        key = self.key(ref, inputs, (), sources or {}, only=sections)
        if not self._is_current(ref, key):
            make_rows(self.store, ref, key, make, order=order)
        return ref

    def model(
        self,
        ref: Ref,
        inputs: Sequence[Ref],
        make: Callable[[], Built],
        *,
        sections: Sequence[str] = (),
        sources: dict[str, str] | None = None,
        config: Config | None = None,
    ) -> Ref:
        """Make a model artifact unless it exists, resuming from its last checkpoint.

        `make` writes the model to `model_folder(ref)`. `config`: the settings for its key, where
        they are not the run's.

        Raises:
            StaleArtifact: it exists but was made from something else.
        """
        key = self.key(ref, inputs, sections, sources or {}, config)
        if self._is_current(ref, key):
            return ref
        began = time.monotonic()
        name = _title(ref)
        say(f"{ref}: {name}")
        self.engines.clear()  # training needs the memory
        self.store.begin_model(ref, key)
        result = replace(make(), seconds=time.monotonic() - began)
        manifest = self.store.commit_model(ref, key, self.model_folder(ref), result)
        say(f"  {name} done in {duration(time.monotonic() - began)} ({manifest.sha256[:12]})")
        return ref

    def _is_current(self, ref: Ref, key: Key) -> bool:
        try:
            if self.store.is_current(ref, key):
                return True
        except StaleArtifact as stale:
            if not self._redo_stale:
                raise StaleArtifact(f"{stale}, or all stale ones with --redo stale") from None
            say(f"{ref} is stale and made again")
            self._remove(ref)
        return take(self.store, ref, key)

    def model_folder(self, ref: Ref) -> Path:
        """Return where a model stage leaves its model, before it is committed."""
        return self.store.paths.work(ref) / "model"

    def job(
        self,
        ref: Ref,
        policy: Ref,
        *,
        reference: Ref | None = None,
        sft: SftSection | None = None,
        dpo: DpoSection | None = None,
    ) -> TrainingJob:
        """Return the job that trains a model artifact from another one."""
        return TrainingJob(
            policy=self.store.model(policy),
            reference=self.store.model(reference) if reference else None,
            sft=sft,
            dpo=dpo,
            models=self.config.model,
            lora=self.config.lora,
            seed=self.config.seed,
            device=pick_device(self.config.engine.device),
            work=self.store.paths.work(ref),
            metrics=self.store.paths.metrics(ref),
            title=_title(ref),
        )

    def read(self, ref: Ref) -> list[Any]:
        """Return a complete artifact's rows."""
        return self.store.read(ref)

    def redo(self, ref: Ref) -> None:
        """Remove an artifact and everything made from it, so that they are made again.

        Repeating the command of a redo that was killed resumes it and removes nothing.
        """
        note = {"redo": str(ref), "config": self.config.model_dump(mode="json")}
        path = self.store.paths.redo
        if path.exists() and json.loads(path.read_text(encoding="utf-8")) == note:
            say(f"resuming the unfinished --redo {ref}")
            return
        self._remove(ref)
        write_atomically(path, json.dumps(note) + "\n")

    def _remove(self, ref: Ref) -> None:
        """Remove an artifact and everything made from it."""
        iterations = range(self._last_iteration() + 1)
        everything = [Ref(k, stage) for k in iterations for stage in stages_of(k)]
        removed = self.store.remove(self.store.dependents(ref, everything))
        say(f"removed: {', '.join(map(str, removed)) or 'nothing'}")

    def redone(self) -> None:
        """Note that a redo is complete."""
        self.store.paths.redo.unlink(missing_ok=True)

    def _last_iteration(self) -> int:
        numbers = (p.name.removeprefix("iter") for p in self.store.paths.root.glob("iter*"))
        return max([self.config.iterations, *(int(n) for n in numbers if n.isdigit())])

    def named_model(self, name: str, k: int) -> Ref:
        """Return the model artifact that a setting names, as seen from iteration k.

        Raises:
            ConfigError: there is no such name.
        """
        if not is_run_model(name):
            raise ConfigError(f"unknown model {name!r}; expected one of {', '.join(MODEL_NAMES)}")
        if is_model_name(name):
            ref = named_model(name)
            if ref.iteration >= k and ref != SFT_BASELINE:
                raise ConfigError(f"{name} is not there yet when M{k} is made; name an earlier one")
            return ref
        fixed = {"base": model_ref(0), "sft": SFT_BASELINE, "m1": model_ref(1)}
        return fixed.get(name, model_ref(k - 1))


def _title(ref: Ref) -> str:
    return f"M{ref.iteration}" if ref.stage is Stage.MODEL else SPECS[ref.stage].title


@contextmanager
def open_run(
    config: Config, *, redo_stale: bool = False, reuse: Sequence[Path] = ()
) -> Iterator[Run]:
    """Lock the run's folder and write its configuration there; raises as `locked_run`."""
    with locked_run(config):
        yield Run(config, redo_stale=redo_stale, reuse=reuse)
