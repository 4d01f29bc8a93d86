"""What a run has to report: its scores, or why there are none; read from artifacts alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from core.benchmarks import FIRST_FEEDBACK_ITERATION
from core.config import Config
from core.errors import ConfigError
from core.outcomes import read_failures
from core.stages import Ref, Stage, evaluation_ref, is_model_name, named_model
from core.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from core.records import Score
    from core.store import Manifest

T = TypeVar("T")

OF_A_MODEL = ("alpaca_eval", "mt_bench", "nlp", "agreement")


class RunResults:
    """One run's artifacts as reports read them.

    `config` is None for a folder that holds only imported results (`srlm-eval import`).
    """

    def __init__(self, folder: Path) -> None:
        """Open the run at `folder`.

        Raises:
            ConfigError: there is no run, or its config.json cannot be read.
        """
        self.store = Store(folder)
        self.folder = folder
        if not folder.is_dir() or not ((folder / "eval").is_dir() or (folder / "iter0").is_dir()):
            message = f"{folder}: not a run (no iter0/ and no eval/ in it); expected runs/<run>"
            raise ConfigError(message)
        self.config = _read_config(self.store.paths.config)
        self._outcomes = read_failures(self.store.paths.outcomes)
        self._scores: dict[str, dict[str, Score]] = {}
        self._remembered: dict[tuple[str, ...], Any] = {}

    @property
    def name(self) -> str:
        """The run's name."""
        return self.config.run if self.config is not None else self.folder.name

    @property
    def models(self) -> tuple[str, ...]:
        """Names of models: those of the configuration in its order, then others with results."""
        wanted = self.config.evaluation.models if self.config is not None else ()
        root = self.folder / "eval"
        found = {path.parent.name for name in OF_A_MODEL for path in root.glob(f"*/{name}")}
        return (*wanted, *sorted(found - {*wanted, "tags"}))

    @property
    def iterations(self) -> tuple[int, ...]:
        """Iterations that made training data of their own: 2, 3, ..."""
        found = []
        k = FIRST_FEEDBACK_ITERATION
        while self.exists(Ref(k, Stage.PROMPTS)):
            found.append(k)
            k += 1
        return tuple(found)

    @property
    def matchups(self) -> tuple[tuple[str, str], ...]:
        """Pairs of models to compare: the configuration's, then others with results."""
        wanted = self.config.evaluation.head_to_head.matchups if self.config is not None else ()
        root = self.folder / "eval" / "head_to_head"
        names = [path.name.split("-", 1) for path in sorted(root.glob("*-*")) if path.is_dir()]
        found = [(name[0], name[1]) for name in names]
        return (*wanted, *(pair for pair in found if pair not in wanted))

    @property
    def studies(self) -> tuple[tuple[str, str], ...]:
        """Pairs of models that people compare, whether or not there are results yet."""
        folders = sorted((self.folder / "eval" / "human").glob("*-*"))
        names = [path.name.split("-", 1) for path in folders if path.is_dir()]
        return tuple((a, b) for a, b in names if is_model_name(a) and is_model_name(b))

    def is_made(self, model: str) -> bool:
        """Whether the run has the weights of this model."""
        return is_model_name(model) and self.exists(named_model(model))

    def exists(self, ref: Ref) -> bool:
        """Whether an artifact is complete."""
        return self.store.exists(ref)

    def manifest(self, ref: Ref) -> Manifest:
        """Return an artifact's manifest.

        Raises:
            MissingArtifact: it has not been made.
        """
        return self.store.manifest(ref)

    def rows(self, ref: Ref) -> list[Any]:
        """Return a complete artifact's rows; [] if it has not been made."""
        return self.store.read(ref) if self.exists(ref) else []

    def scores(self, address: str) -> dict[str, Score]:
        """Return the scores of a benchmark by key; {} if there are none (see `why_absent`)."""
        if address not in self._scores:
            rows = self.rows(evaluation_ref(address, Stage.SCORES))
            self._scores[address] = {score.key: score for score in rows}
        return self._scores[address]

    def remember(self, key: tuple[str, ...], make: Callable[[], T]) -> T:
        """Return what `make` returns, made once per key: for what several parts of a report need.

        Artifacts do not change while a report is built.
        """
        if key not in self._remembered:
            self._remembered[key] = make()
        found: T = self._remembered[key]
        return found

    def why_absent(self, address: str) -> str | None:
        """Return why a benchmark has no scores, in a few words; None if it has."""
        if self.exists(evaluation_ref(address, Stage.SCORES)):
            return None
        if failure := self._outcomes.get(address):
            return f"failed: {failure}"
        if address.startswith("human/"):
            return f"no results yet: srlm-eval human-results --study RUN/eval/{address}"
        return self._why_not_run(address)

    def failure(self, address: str) -> str | None:
        """Return why the last attempt at a benchmark failed, even if older scores are there."""
        return self._outcomes.get(address)

    def _why_not_run(self, address: str) -> str:
        if self.config is None:
            return "not imported"
        section = self.config.evaluation
        first, *rest = address.split("/")
        benchmark = first if first in ("head_to_head", "self_judge", "contamination") else rest[0]
        models = rest[0].split("-", 1) if first == "head_to_head" else [first]
        if benchmark not in section.benchmarks:
            return f"{benchmark} is not among evaluation.benchmarks"
        if benchmark == "nlp" and rest[-1] not in section.nlp.tasks:
            return f"{rest[-1]} is not among evaluation.nlp.tasks"
        if benchmark not in ("self_judge", "contamination"):
            for model in models:
                if model not in section.models:
                    return f"{model} is not among evaluation.models"
                if not self.is_made(model):
                    return f"{model} is not trained yet"
        return "not evaluated yet"


def _read_config(path: Path) -> Config | None:
    if not path.is_file():
        return None
    try:
        return Config.model_validate(json.loads(path.read_bytes()))
    except (ValidationError, ValueError) as error:
        said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        message = (
            f"{path}: written by another version of srlm ({said}); run `make train-iter` or "
            "`make eval-all` with the run's configuration once"
        )
        raise ConfigError(message) from None
