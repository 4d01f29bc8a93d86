"""A run, opened for reading: what it has, what it lacks and why. For reports and for web pages.

Nothing is copied from the disk for good: a file that changes is read again, so a page over a run
that is still going shows what is finished by then, and a report reads every file once.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from core import jsonl
from core.benchmarks import BENCHMARKS, FIRST_FEEDBACK_ITERATION, Facts, Items, Subject
from core.config import Config
from core.errors import ConfigError, DataError, MissingArtifact
from core.stages import Ref, Stage, evaluation_ref, is_model, is_model_name, model_ref, named_model
from core.store import Manifest, Store, read_failures

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from core.evaluation_config import EvaluationSection
    from core.records import Score

T = TypeVar("T")

_ITERATION = re.compile(r"iter([0-9]{1,6})")
_CHUNK_BYTES = 1 << 20
_NOT_MADE = "not made yet"
_NOT_NEEDED = "not part of this run, whose M1 was given (m1.model)"
_OTHER_VERSION = "config.json was written by another version of srlm"


class RunReader:
    """One run, opened for reading; usable from several threads.

    Names that come from outside (a page's address) are only ever looked up among what is found
    here; none becomes a path.
    """

    def __init__(self, folder: Path, *, strict: bool = False) -> None:
        """Open the run at `folder`.

        Raises:
            ConfigError: there is no run, or (`strict`) its config.json cannot be read.
        """
        if not any(path.is_dir() for path in (folder / "eval", *folder.glob("iter[0-9]*"))):
            message = f"{folder}: not a run (no iter0/ and no eval/ in it); expected runs/<run>"
            raise ConfigError(message)
        self.folder, self._eval = folder, folder / "eval"
        self.store = Store(folder)
        self._known: dict[tuple[Path, str], tuple[tuple[int, int, int], Any]] = {}
        problem = self.config_problem
        if strict and problem is not None and self.store.paths.config.exists():
            message = (
                f"{folder}: {problem}; run `make train-iter` or `make eval-all` with the run's "
                "configuration once"
            )
            raise ConfigError(message)

    def _once(self, path: Path, what: str, make: Callable[[], T]) -> T:
        """Return what `make` makes of a file, made again when the file was written or replaced.

        Raises:
            FileNotFoundError: there is no file; and whatever `make` raises, which is not kept.
        """
        stat = path.stat()
        signature = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        known = self._known.get((path, what))
        if known is None or known[0] != signature:
            known = (signature, make())
            self._known[path, what] = known
        found: T = known[1]
        return found

    @property
    def name(self) -> str:
        """The run's name."""
        config = self.config
        return config.run if config is not None else self.folder.resolve().name

    @property
    def config(self) -> Config | None:
        """The resolved configuration of the last command; None where `config_problem` says why.

        A folder that holds only imported results (`srlm-eval import`) has none.
        """
        return self._read_config()[0]

    @property
    def config_problem(self) -> str | None:
        """Why there is no configuration."""
        return self._read_config()[1]

    @property
    def only_imported(self) -> bool:
        """Whether nothing was run here: a folder of recorded results (`srlm-eval import`)."""
        return not self.store.paths.config.exists() and not any(self.folder.glob("iter*"))

    def setting(self, name: str, *refs: Ref) -> Any:
        """Return a setting as the first of `refs` that is there was made with.

        Without any of them the configuration's, of the first one's iteration; None without that.
        `name`: "ift.source".
        """
        for ref in filter(self.exists, refs):
            for section, value in self.manifest(ref).key.config.items():
                if f"{name}.".startswith(f"{section}."):
                    found = value
                    for part in filter(None, name.removeprefix(section).split(".")):
                        found = found.get(part)
                    return found
        if self.config is None:
            return None
        return self.config.at(refs[0].iteration if refs else 0).section(name)

    def _read_config(self) -> tuple[Config | None, str | None]:
        path = self.store.paths.config

        def load() -> Config:
            return Config.model_validate(jsonl.parse(path.read_bytes(), path))

        if not path.is_file():
            return None, "there is no config.json"
        try:
            return self._once(path, "config", load), None
        except ValidationError as error:
            return None, f"{_OTHER_VERSION} ({error.errors()[0]['msg']})"
        except DataError as error:
            return None, f"config.json is damaged ({error})"

    @property
    def iterations(self) -> tuple[int, ...]:
        """Iterations that are there or wanted, from 0."""
        config = self.config
        wanted = config.iterations if config is not None else 0
        there = [
            int(match[1])
            for path in self.folder.glob("iter*")
            if (match := _ITERATION.fullmatch(path.name)) and path.is_dir()
        ]
        return tuple(sorted({*range(wanted + 1), *there}))

    @property
    def feedback_iterations(self) -> tuple[int, ...]:
        """Iterations that made training data of their own: 2, 3, ..."""
        k = FIRST_FEEDBACK_ITERATION
        while self.exists(Ref(k, Stage.PROMPTS)):
            k += 1
        return tuple(range(FIRST_FEEDBACK_ITERATION, k))

    @property
    def models(self) -> tuple[str, ...]:
        """Names of models: those of the configuration in its order, then others with results."""
        return self._models("model")

    @property
    def answering_models(self) -> tuple[str, ...]:
        """As `models`, with those that have only answered the prompts of a matchup."""
        return self._models("model", "matchup")

    def _models(self, *kinds: str) -> tuple[str, ...]:
        wanted = self.config.evaluation.models if self.config is not None else ()
        names = [facts.name for facts in BENCHMARKS.values() if facts.of in kinds]
        found = {path.parent.name for name in names for path in self._eval.glob(f"*/{name}")}
        return (*wanted, *sorted(found - {*wanted, "tags"}))

    @property
    def matchups(self) -> tuple[tuple[str, str], ...]:
        """Pairs of models to compare: the configuration's, then others with results."""
        config = self.config
        wanted = config.evaluation.head_to_head.matchups if config is not None else ()
        return (*wanted, *(pair for pair in self._pairs("head_to_head") if pair not in wanted))

    @property
    def studies(self) -> tuple[tuple[str, str], ...]:
        """Pairs of models that people compare, whether or not there are results yet."""
        pairs = self._pairs("human")
        return tuple((a, b) for a, b in pairs if is_model_name(a) and is_model_name(b))

    def _pairs(self, benchmark: str) -> list[tuple[str, str]]:
        folders = [path for path in sorted(self._eval.glob(f"{benchmark}/*-*")) if path.is_dir()]
        found = [Subject.parse(f"{benchmark}/{path.name}") for path in folders]
        return [(one.models[0], one.models[1]) for one in found if one is not None]

    def parts(self, benchmark: str) -> tuple[str, ...]:
        """Return the configured parts of a benchmark (NLP tasks), then others with results."""
        config, facts = self.config, BENCHMARKS[benchmark]
        wanted = facts.parts_in(config.evaluation) if config is not None else ()
        found = {path.name for path in self._eval.glob(f"*/{benchmark}/*") if path.is_dir()}
        return (*wanted, *sorted(found - set(wanted)))

    def subjects(self) -> list[Subject]:
        """Return what a run is asked for or has results of, in the order of the tables."""
        asked = self.config.evaluation.benchmarks if self.config is not None else ()
        found = [one for facts in BENCHMARKS.values() for one in self._subjects(facts)]
        return [one for one in found if one.benchmark in asked or self.scores(one.address)]

    def _subjects(self, facts: Facts) -> list[Subject]:
        config = self.config
        if facts.of == "iteration":
            seed = (1,) if facts.first_iteration == 1 and self.exists(Ref(1, Stage.IFT)) else ()
            return [Subject(facts.name, iteration=k) for k in (*seed, *self.feedback_iterations)]
        if facts.of == "matchup":
            pairs = self.studies if facts.by_people else self.matchups
            return [Subject(facts.name, pair) for pair in pairs]
        parts = facts.parts_in(config.evaluation) if config is not None else ()
        return [
            Subject(facts.name, (model,), part=part)
            for part in (parts if facts.parts else ("",))
            for model in self.models
        ]

    def is_made(self, model: str) -> bool:
        """Whether the run has the weights of this model."""
        return is_model_name(model) and self.exists(named_model(model))

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
            return self._once(path, "manifest", lambda: self.store.manifest(ref))
        except FileNotFoundError:
            raise MissingArtifact(f"{ref}: {self.why_missing(ref)}") from None

    def known_manifest(self, ref: Ref) -> Manifest | None:
        """Return an artifact's manifest, None where `why_missing` says why."""
        return self.manifest(ref) if self.why_missing(ref) is None else None

    def rows(self, ref: Ref) -> list[Any]:
        """Return a complete artifact's rows; [] if it has not been made."""
        return self.store.read(ref) if self.exists(ref) else []

    def scores(self, address: str) -> dict[str, Score]:
        """Return the scores of a benchmark by key; {} if there are none (see `why_absent`)."""
        ref = evaluation_ref(address, Stage.SCORES)

        def read() -> dict[str, Score]:
            return {score.key: score for score in self.store.read(ref)}

        try:
            return self._once(self.store.paths.manifest(ref), "scores", read)
        except FileNotFoundError:
            return {}

    def items(self, address: str) -> dict[str, Items]:
        """Return, per metric that is a mean over items, the items behind it (see `Facts.items`)."""
        subject = Subject.parse(address)
        if subject is None or subject.facts.items is None:
            return {}
        path = self.store.paths.manifest(subject.ref(subject.facts.stages[-1]))
        try:
            return self._once(path, "items", lambda: subject.items(self.rows))
        except FileNotFoundError:
            return subject.items(lambda _: [])

    def why_missing(self, ref: Ref) -> str | None:
        """Return in a few words why an artifact is not there or is damaged; None if it is."""
        if self.exists(ref):
            try:
                self.manifest(ref)
            except (DataError, MissingArtifact) as error:  # missing: removed this very moment
                return str(error)
            return None
        if begun := self._begun(ref):
            return begun
        if ref.address:
            return self._why_not_evaluated(ref.address)
        if self.config is not None and ref.iteration > self.config.iterations:
            return f"the run ends with iteration {self.config.iterations}"
        return self.why_unmade(ref)

    def why_unmade(self, ref: Ref) -> str:
        """Return why the run lacks a training artifact: not made yet, or M1 was given."""
        given = self.config.m1.model if self.config is not None else None
        before_m1 = ref.iteration < FIRST_FEEDBACK_ITERATION and ref != model_ref(1)
        return _NOT_NEEDED if given and before_m1 else _NOT_MADE

    def why_absent(self, address: str) -> str | None:
        """Return why a benchmark has no scores, in a few words; None if it has."""
        if self.exists(evaluation_ref(address, Stage.SCORES)):
            return None
        return self._why_not_evaluated(address)

    def failure(self, address: str) -> str | None:
        """Return why the last attempt at a benchmark failed, even if older scores are there.

        Raises:
            DataError: the record of failures was damaged.
        """
        path = self.store.paths.outcomes
        try:
            return self._once(path, "failures", lambda: read_failures(path)).get(address)
        except FileNotFoundError:
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

    def _why_not_evaluated(self, address: str) -> str:
        if failure := self.failure(address):
            return f"failed: {failure}"
        subject, config = Subject.parse(address), self.config
        if subject is not None and subject.facts.by_people:
            return f"no results yet: srlm-eval human-results --study RUN/eval/{address}"
        if config is None:
            return "not imported" if self.only_imported else "not made yet"
        unwanted = subject and self._why_not_wanted(subject, config.evaluation)
        return unwanted or "not evaluated yet"

    def _why_not_wanted(self, subject: Subject, section: EvaluationSection) -> str | None:
        benchmark, facts = subject.benchmark, subject.facts
        if benchmark not in section.benchmarks:
            return f"{benchmark} is not among evaluation.benchmarks"
        if subject.part and subject.part not in facts.parts_in(section):
            return f"{subject.part} is not among evaluation.{benchmark}.{facts.parts}"
        for model in subject.models:
            if model not in section.models:
                return f"{model} is not among evaluation.models"
            if not self.is_made(model):
                why = self.why_unmade(named_model(model))
                return f"{model} is {'not trained yet' if why == _NOT_MADE else why}"
        return None


def _lines(path: Path) -> int | None:
    """Return how many whole lines a file has, None if it is not there."""
    try:
        with path.open("rb") as file:
            return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(_CHUNK_BYTES), b""))
    except FileNotFoundError:
        return None
