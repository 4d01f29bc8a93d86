"""One run under evaluation: its models, engines and judge, and the artifacts below eval/."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from core.benchmarks import BENCHMARKS, SCORING
from core.config import EngineSection
from core.errors import ConfigError, MissingArtifact, StaleArtifact
from core.hashing import model_files, sha256_folder, sha256_text
from core.making import artifact_key, locked_run, make_rows
from core.progress import say
from core.stages import Ref, Stage, evaluation_ref, is_model_name, model_ref, named_model
from core.store import Built, Store
from engines.cached import CachedEngine
from engines.pool import EnginePool
from evaluation.judge import judge_folder
from judges.backends.openai_judge import identity_of
from judges.backends.opening import open_judge
from judges.backends.recorded import Recorded
from judges.replies import PARSING
from judges.rubrics import rubric_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from core.benchmarks import Subject
    from core.config import Config
    from core.records import Score
    from core.store import Partial
    from engines.engine import Engine
    from evaluation.benchmark import Benchmark, EvaluationItem
    from judges.backends.opening import ExternalJudge


class EvalRun:
    """Makes the evaluation artifacts of one run. Use inside `with open_evaluation(config)`."""

    def __init__(
        self,
        config: Config,
        store: Store,
        benchmarks: Sequence[Benchmark] = (),
        *,
        redo_stale: bool = False,
    ) -> None:
        """`benchmarks`: whose texts count for contamination. `redo_stale`: rebuild unasked."""
        self.config = config
        self.section = config.evaluation
        self.store = store
        self._benchmarks = benchmarks
        self._redo_stale = redo_stale
        self._engines = EnginePool(config, store)
        self._judge: ExternalJudge | None = None

    def rows(
        self,
        ref: Ref,
        inputs: Sequence[Ref],
        make: Callable[[Partial], Built],
        *,
        sections: Sequence[str] = (),
        sources: dict[str, str] | None = None,
        config: Config | None = None,
    ) -> Ref:
        """Make a row artifact unless it exists, resuming an unfinished one.

        `config`: the settings for its key, where they are not the run's.

        Raises:
            StaleArtifact: it exists but was made from other inputs.
        """
        sources, config = sources or {}, config or self.config
        if "judge.rubric" in sections:
            sources = sources | rubric_source(config.judge.rubric)
        key = artifact_key(self.store, config, inputs, sections, sources)
        try:
            make_rows(self.store, ref, key, make, quiet=True)
        except StaleArtifact as stale:
            if not self._redo_stale:
                again = f"--redo {ref.address}, or all stale ones with --redo stale"
                raise StaleArtifact(f"{stale} ({again})") from None
            say(f"{ref} is stale and made again")
            self.store.remove([ref])
            make_rows(self.store, ref, key, make, quiet=True)
        return ref

    def scores(
        self,
        subject: Subject,
        inputs: Sequence[Ref],
        measure: Callable[[], Sequence[Score]],
        *,
        sections: Sequence[str] = (),
        sources: dict[str, str] | None = None,
    ) -> list[Score]:
        """Make the scores artifact of a benchmark unless it exists; return its rows."""

        def make(out: Partial) -> Built:
            out.add_missing(measure())
            return Built()

        ref = subject.ref(Stage.SCORES)
        sources = SCORING | (sources or {})
        return self.read(self.rows(ref, inputs, make, sections=sections, sources=sources))

    def read(self, ref: Ref) -> list[Any]:
        """Return a complete artifact's rows."""
        return self.store.read(ref)

    def engine(self, model: str, ref: Ref) -> Engine:
        """Return the engine of one of the run's models; its calls are logged under `ref`."""
        return self._engines.model(self.model(model), ref)

    def generator(self, model: str, ref: Ref) -> Engine:
        """Return the engine that answers benchmark prompts; it caches its generations."""
        return CachedEngine(self.engine(model, ref), self.store.paths.generations)

    @cached_property
    def texts(self) -> list[EvaluationItem]:
        """The texts of every benchmark, read once, in the order of `core.benchmarks`."""
        readers = {b.facts.name: b.texts for b in self._benchmarks if b.texts is not None}
        return [item for name in BENCHMARKS if name in readers for item in readers[name](self)]

    @property
    def sets_left_out(self) -> list[str]:
        """The evaluation sets that are not in `texts`: their items are not on this machine."""
        found = [b.remote_sets(self.section) for b in self._benchmarks if b.remote_sets is not None]
        return [name for names in found for name in names]

    @property
    def iterations(self) -> int:
        """The last iteration that has a model."""
        made = [k for k in range(self.config.iterations + 1) if self.store.exists(model_ref(k))]
        return max(made, default=0)

    def is_made(self, name: str) -> bool:
        """Whether the run has a model of this name."""
        return self.store.exists(named_model(name))

    def model(self, name: str) -> Ref:
        """Return the artifact of a model by its name: M0, sft, M1, ...

        Raises:
            MissingArtifact: it has not been made.
        """
        ref = named_model(name)
        if not self.store.exists(ref):
            message = (
                f"{name}: not made yet in {self.store.paths.root}; train it first, or leave it out "
                "of evaluation.models"
            )
            raise MissingArtifact(message)
        return ref

    @property
    def judge(self) -> ExternalJudge:
        """The external judge, recorded; opened on first use."""
        if self._judge is None:
            section, paths = self.section.judge, self.store.paths
            cassette = Path(section.cassette).expanduser() if section.cassette else paths.cassette
            self._judge = open_judge(section, cassette, self._judge_engine, seed=self.config.seed)
        return self._judge

    def judge_summary(self) -> str | None:
        """Return the judge's requests and cost in one line; None if it was not asked."""
        return self._judge.summary() if isinstance(self._judge, Recorded) else None

    def judge_inputs(self) -> list[Ref]:
        """Return the artifacts that the external judge depends on: a model of this run, or none."""
        section = self.section.judge
        if section.backend == "model" and is_model_name(section.model):
            return [self.model(section.model)]
        return []

    def judge_sources(self) -> dict[str, str]:
        """Return the parser's version, and a judge outside the run: its server or files' hash."""
        section = self.section.judge
        if section.backend == "openai":
            # The server may come from the environment, which the configuration does not show.
            return PARSING | {"judge": sha256_text(identity_of(section))}
        if is_model_name(section.model):
            return PARSING
        folder = judge_folder(section.model)
        return PARSING | {f"judge:{folder.name}": self._judge_digest(folder)}

    def _judge_engine(self) -> Engine:
        stage = evaluation_ref("judge", Stage.VERDICTS)
        variables = self.section.judge.chat_template_kwargs
        if inputs := self.judge_inputs():
            return self._engines.model(inputs[0], stage, variables=variables)
        folder = judge_folder(self.section.judge.model)
        digest = self._judge_digest(folder)
        return self._engines.folder(folder, stage, weights_sha256=digest, variables=variables)

    def _judge_digest(self, folder: Path) -> str:
        return sha256_folder(model_files(folder), self.store.paths.digests)


def engine_section(dtype: str, kind: str = "transformers") -> EngineSection:
    """Return the engine's settings for a model named on the command line.

    Raises:
        ConfigError: unknown dtype or engine.
    """
    arithmetic: tuple[Literal["bfloat16", "float32"], ...] = ("bfloat16", "float32")
    engines: tuple[Literal["transformers", "vllm"], ...] = ("transformers", "vllm")
    if dtype not in arithmetic:
        raise ConfigError(f"--dtype {dtype!r}: expected one of {', '.join(arithmetic)}")
    if kind not in engines:
        raise ConfigError(f"--engine {kind!r}: expected one of {', '.join(engines)}")
    return EngineSection(dtype=dtype, kind=kind)


def require_made(config: Config) -> None:
    """Check that a run has all of evaluation.models, for a command that names them.

    Raises:
        ConfigError: it lacks one.
    """
    store, wanted = Store(config.folder), config.evaluation.models
    if lacking := [name for name in wanted if not store.exists(named_model(name))]:
        made = [name for name in ("M0", "sft") if store.exists(named_model(name))]
        made += [f"M{k}" for k in range(1, config.iterations + 1) if store.exists(model_ref(k))]
        message = (
            f"--models: {config.folder} has no {', '.join(lacking)}; "
            f"it has {', '.join(made) or 'no model yet: train first'}"
        )
        raise ConfigError(message)


@contextmanager
def open_evaluation(
    config: Config,
    benchmarks: Sequence[Benchmark],
    *,
    redo_stale: bool = False,
    reuse: Sequence[Path] = (),
) -> Iterator[EvalRun]:
    """Lock the run's folder and open it for evaluation.

    `reuse`: run folders whose artifacts are taken where their keys are the same.

    Raises:
        ConfigError: there is no such run.
        RunLocked: another process is working on it.
    """
    if not config.folder.is_dir():
        message = (
            f"{config.folder}: no such run; train it first (`make train-iter` with this CONFIG), "
            "or set run and out_dir to where it is"
        )
        raise ConfigError(message)
    with locked_run(config, reuse) as store:
        yield EvalRun(config, store, benchmarks, redo_stale=redo_stale)
