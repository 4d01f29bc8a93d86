"""A run as the explorer sees it: what there is, what there is not, and why not.

Everything is looked up again for each page, so a run that is still going shows what is finished.
Names in addresses are only ever looked up among what is found here; none becomes a path.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from pydantic import ValidationError

from core.config import Config
from core.errors import ConfigError, DataError, MissingArtifact
from core.outcomes import read_failures
from core.stages import Ref, Stage, evaluation_ref, is_model, is_model_name, named_model
from core.store import Store
from web.explorer.remembered import Remembered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from core.evaluation_config import EvaluationSection
    from core.store import Manifest

OF_A_MODEL = ("head_to_head", "alpaca_eval", "mt_bench", "agreement", "nlp")
OF_AN_ITERATION = ("self_judge", "contamination")
_MANIFEST = ".manifest.json"
_ITERATION = re.compile(r"iter([0-9]{1,6})")
_CHUNK = 1 << 20
_STAGES = frozenset(Stage)


class RunFolder:
    """One run, opened for reading.

    `config` is None where config.json is absent or cannot be read; `config_problem` says which.
    """

    def __init__(self, folder: Path) -> None:
        """Open the run at `folder`.

        Raises:
            ConfigError: there is no run.
        """
        if not folder.is_dir() or not ((folder / "eval").is_dir() or (folder / "iter0").is_dir()):
            message = f"{folder}: not a run (no iter0/ and no eval/ in it); expected runs/<run>"
            raise ConfigError(message)
        self.folder = folder
        self.store = Store(folder)
        self._remembered = Remembered()

    @property
    def name(self) -> str:
        """The run's name."""
        config = self.config
        return config.run if config is not None else self.folder.resolve().name

    @property
    def config(self) -> Config | None:
        """The resolved configuration of the last command."""
        return self._read_config()[0]

    @property
    def config_problem(self) -> str | None:
        """Why there is no configuration."""
        return self._read_config()[1]

    def _read_config(self) -> tuple[Config | None, str | None]:
        path = self.store.paths.config
        if not path.is_file():
            return None, "there is no config.json"
        try:
            return self._remembered.read(path, self._load_config), None
        except (ValidationError, ValueError, RecursionError) as error:
            said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            return None, f"config.json was written by another version of srlm ({said})"

    def _load_config(self) -> Config:
        return Config.model_validate(json.loads(self.store.paths.config.read_bytes()))

    @property
    def iterations(self) -> list[int]:
        """Iterations that are there or wanted, from 0."""
        config = self.config
        wanted = config.iterations if config is not None else 0
        there = [
            int(match[1])
            for path in self.folder.glob("iter*")
            if (match := _ITERATION.fullmatch(path.name)) and path.is_dir()
        ]
        return sorted({*range(wanted + 1), *there})

    @property
    def models(self) -> list[str]:
        """Names of models: those of the configuration in its order, then others with results."""
        config = self.config
        wanted = config.evaluation.models if config is not None else ()
        eval_folder = self.folder / "eval"
        found = {path.parent.name for name in OF_A_MODEL for path in eval_folder.glob(f"*/{name}")}
        return [*wanted, *sorted(found - {*wanted, "tags"})]

    @property
    def matchups(self) -> list[tuple[str, str]]:
        """Pairs of models that are compared or to be compared."""
        config = self.config
        wanted = config.evaluation.head_to_head.matchups if config is not None else ()
        folders = sorted((self.folder / "eval" / "head_to_head").glob("*-*"))
        found = [tuple(path.name.split("-", 1)) for path in folders if path.is_dir()]
        pairs = [(a, b) for a, b in found if (a, b) not in wanted]
        return [*wanted, *pairs]

    @property
    def tasks(self) -> list[str]:
        """NLP tasks that some model has been given or is to be given."""
        config = self.config
        wanted = config.evaluation.nlp.tasks if config is not None else ()
        found = {path.name for path in self.folder.glob("eval/*/nlp/*") if path.is_dir()}
        return [*wanted, *sorted(found - set(wanted))]

    def artifacts(self) -> dict[str, Ref]:
        """Return every complete artifact by its address, training before evaluation."""
        found = {}
        for path in (*self._manifests("iter*"), *self._manifests("eval/**")):
            place = path.parent.relative_to(self.folder)
            stage = path.name.removesuffix(_MANIFEST)
            if stage not in _STAGES:
                continue
            if place.parts[0] == "eval" and len(place.parts) > 1:
                ref = evaluation_ref("/".join(place.parts[1:]), Stage(stage))
            elif match := _ITERATION.fullmatch(place.parts[0]):
                ref = Ref(int(match[1]), Stage(stage))
            else:
                continue
            found[str(ref)] = ref
        return found

    def _manifests(self, where: str) -> Iterator[Path]:
        yield from sorted(self.folder.glob(f"{where}/*{_MANIFEST}"))

    def exists(self, ref: Ref) -> bool:
        """Whether an artifact is complete."""
        return self.store.exists(ref)

    def manifest(self, ref: Ref) -> Manifest:
        """Return an artifact's manifest.

        Raises:
            MissingArtifact: it is not complete.
            DataError: the manifest was damaged.
        """
        path = self.store.paths.manifest(ref)
        try:
            return self._remembered.read(path, lambda: self.store.manifest(ref))
        except FileNotFoundError:
            raise MissingArtifact(f"{ref}: {self.why_missing(ref)}") from None

    def known_manifest(self, ref: Ref) -> Manifest | None:
        """Return an artifact's manifest, None where `why_missing` says why."""
        return self.manifest(ref) if self.why_missing(ref) is None else None

    def why_missing(self, ref: Ref) -> str | None:
        """Return in a few words why an artifact is not there or is damaged; None if it is."""
        if self.store.exists(ref):
            return self._why_damaged(ref)
        if (begun := self._begun(ref)) is not None:
            return begun
        return self._why_not_evaluated(ref.address) if ref.address else self._why_not_trained(ref)

    def _why_damaged(self, ref: Ref) -> str | None:
        try:
            self.manifest(ref)
        except (DataError, MissingArtifact) as error:  # missing: removed this very moment
            return str(error)
        return None

    def _begun(self, ref: Ref) -> str | None:
        stopped = "a run is making it, or was stopped"
        if is_model(ref):
            return f"not complete: {stopped}" if self.store.paths.work(ref).is_dir() else None
        rows = _lines(self.store.paths.partial(ref))
        if rows is None:
            return None
        done = max(0, rows - 1)  # the first line is the header
        return f"not complete: {done:,} rows so far ({stopped})"

    def _why_not_trained(self, ref: Ref) -> str:
        config = self.config
        if config is not None and ref.iteration > config.iterations:
            return f"the run ends with iteration {config.iterations}"
        return "not made yet"

    def _why_not_evaluated(self, address: str) -> str:
        if failure := self._failures().get(address):
            return f"failed: {failure}"
        config = self.config
        if config is None:
            return "not made yet"
        return self._why_not_wanted(address, config.evaluation) or "not evaluated yet"

    def _why_not_wanted(self, address: str, section: EvaluationSection) -> str | None:
        first, *rest = address.split("/")
        benchmark = first if first in ("head_to_head", *OF_AN_ITERATION) else rest[0]
        if benchmark not in section.benchmarks:
            return f"{benchmark} is not among evaluation.benchmarks"
        if benchmark == "nlp" and rest[-1] not in section.nlp.tasks:
            return f"{rest[-1]} is not among evaluation.nlp.tasks"
        models = rest[0].split("-", 1) if first == "head_to_head" else [first]
        for model in models if benchmark not in OF_AN_ITERATION else ():
            if model not in section.models:
                return f"{model} is not among evaluation.models"
            if not (is_model_name(model) and self.store.exists(named_model(model))):
                return f"{model} is not trained yet"
        return None

    def _failures(self) -> dict[str, str]:
        path = self.store.paths.outcomes
        try:
            return read_failures(path)
        except (ValueError, KeyError):
            raise DataError(path, None, "cannot be read; run `make eval-all` again") from None


def _lines(path: Path) -> int | None:
    """Return how many whole lines a file has, None if it is not there."""
    try:
        with path.open("rb") as file:
            return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(_CHUNK), b""))
    except FileNotFoundError:
        return None
