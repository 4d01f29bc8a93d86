"""The suite: every benchmark on every model of a run, one after another.

A benchmark that fails does not lose the others; rerunning the command repeats only what is missing.
"""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from core.benchmarks import FIRST_FEEDBACK_ITERATION, Subject
from core.errors import (
    BudgetSpent,
    ConfigError,
    EvaluationFailed,
    RunLocked,
    SrlmError,
    StorageError,
)
from core.progress import duration, say
from core.stages import EVALUATION_STAGES, Ref, Stage, evaluation_ref
from core.store import read_failures, write_failures
from evaluation.agreement.benchmark import BENCHMARK as AGREEMENT
from evaluation.agreement.benchmark import RANKED
from evaluation.alpaca_eval.benchmark import BENCHMARK as ALPACA_EVAL
from evaluation.head_to_head.benchmark import BENCHMARK as HEAD_TO_HEAD
from evaluation.human.results import refresh
from evaluation.ifeval.benchmark import BENCHMARK as IFEVAL
from evaluation.loop_checks.benchmark import CONTAMINATION, SELF_JUDGE, TRUTH
from evaluation.mt_bench.benchmark import BENCHMARK as MT_BENCH
from evaluation.nlp.benchmark import BENCHMARK as NLP
from evaluation.run import open_evaluation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from core.benchmarks import Facts
    from core.config import Config
    from core.evaluation_config import EvaluationSection
    from core.records import Score
    from core.store import Store
    from evaluation.benchmark import Benchmark
    from evaluation.run import EvalRun

BENCHMARKS: tuple[Benchmark, ...] = (
    NLP, IFEVAL, AGREEMENT, ALPACA_EVAL, MT_BENCH, HEAD_TO_HEAD, SELF_JUDGE,
    TRUTH, CONTAMINATION,
)  # fmt: skip
"""The benchmarks that `srlm-eval run` knows, in the order in which each model runs them."""
_STALE = "stale"


@dataclass(frozen=True, slots=True)
class Job:
    """One line of the suite: a benchmark of one model, two models or one iteration."""

    subject: Subject
    run: Callable[[], Sequence[Score]]
    columns: tuple[str, ...]
    """Keys of the scores that tables show; the first one stands in the job's line."""

    @property
    def owner(self) -> str:
        """The model, matchup or iteration: "M2", "M2 against M1", "iteration 3"."""
        if self.subject.iteration is not None:
            return f"iteration {self.subject.iteration}"
        return " against ".join(self.subject.models)

    @property
    def title(self) -> str:
        """The benchmark and its part: "nlp piqa"; for one model's matchup answers "answers"."""
        part = "answers" if self.answers_only else self.subject.part
        return f"{self.subject.benchmark} {part}".strip()

    @property
    def name(self) -> str:
        """The beginning of the job's line: "M2 × nlp piqa"."""
        return f"{self.owner} × {self.title}"

    @property
    def answers_only(self) -> bool:
        """Whether one model answers the prompts of a benchmark that compares two."""
        return self.subject.facts.of == "matchup" and len(self.subject.models) == 1

    @property
    def last(self) -> Ref:
        """The artifact that is there once the job is done."""
        return self.subject.ref(Stage.ANSWERS if self.answers_only else Stage.SCORES)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished job: its scores, or why it failed."""

    job: Job
    scores: Sequence[Score]
    seconds: float
    failure: str | None = None

    def score(self, key: str) -> Score | None:
        """Return one of its scores; None if there is none of that key."""
        return next((score for score in self.scores if score.key == key), None)


def evaluate(
    config: Config, *, redo: str | None = None, reuse: Sequence[Path] = ()
) -> list[Outcome]:
    """Run what is missing; return the outcome of each benchmark.

    `redo` rebuilds the artifacts it matches (see `matching`), or all that are stale. `reuse`: run
    folders whose artifacts are taken where their keys are the same.

    Raises:
        ConfigError: there is no such run, no model of it is wanted, or `redo` matches nothing.
        DataError: a benchmark's file cannot be used (see `check_files`).
        RunLocked: another process is working on the run.
    """
    if redo not in (None, _STALE):
        reuse = ()  # what it names is to be made again, here
    with open_evaluation(config, BENCHMARKS, redo_stale=redo == _STALE, reuse=reuse) as run:
        check_files(run.section)
        if redo is not None and redo != _STALE:
            found = matching(run.store, redo)
            if not found:
                message = f"--redo {redo!r}: no evaluation artifact of that name in {config.folder}"
                raise ConfigError(message)
            say(f"removed: {', '.join(map(str, run.store.remove(found)))}")
        for name in run.section.models:
            if not run.is_made(name):
                say(f"{name} is not made yet and is left out")
        todo = jobs(run)
        if not todo:
            message = f"{config.folder}: none of evaluation.models is made yet; train first"
            raise ConfigError(message)
        for name, why in left_out(run).items():
            say(f"{name} is left out: {why}")
        log = run.store.paths.root / "eval" / "errors.log"
        outcomes = run_jobs(todo, log, run.store.paths.outcomes)
        refresh(run.store.paths.root)  # agreement of new verdicts with human votes
        if summary := run.judge_summary():
            say(summary)
    return outcomes


def check_files(section: EvaluationSection) -> None:
    """Check the local files of the benchmarks that are wanted, before anything is made.

    Raises:
        ConfigError, DataError: a file is missing, empty, or not what it should be.
    """
    for benchmark in BENCHMARKS:
        if benchmark.facts.name in section.benchmarks and benchmark.check:
            benchmark.check(section)


def left_out(run: EvalRun) -> dict[str, str]:
    """Return the wanted benchmarks that need seed data which a run with a given M1 has not made."""
    found = {}
    if run.config.m1.model is not None and not run.store.exists(RANKED):
        found = {"agreement": f"the run has no {RANKED}; m1.also_make = ['ranked'] makes it"}
    return {name: why for name, why in found.items() if name in run.section.benchmarks}


def jobs(run: EvalRun) -> list[Job]:
    """Return the jobs of the configured benchmarks, ordered so that each model is loaded once."""
    names: Sequence[str] = run.section.benchmarks
    without = left_out(run)
    wanted = {
        b.facts.name: b for b in BENCHMARKS if b.facts.name in names and b.facts.name not in without
    }
    found = []
    for subject in _subjects(run, [benchmark.facts for benchmark in wanted.values()]):
        benchmark = wanted[subject.benchmark]
        found.append(Job(subject, partial(benchmark.run, run, subject), benchmark.shown(subject)))
    return found


def _subjects(run: EvalRun, wanted: Sequence[Facts]) -> Iterator[Subject]:
    """Yield model by model, then matchup by matchup, then iteration by iteration."""
    models = [name for name in run.section.models if run.is_made(name)]
    for model in models:
        for facts in wanted:
            if facts.of != "iteration":
                parts = facts.parts_in(run.section) if facts.parts else ("",)
                yield from (Subject(facts.name, (model,), part=part) for part in parts)
    for facts in (facts for facts in wanted if facts.of == "matchup"):
        for a, b in getattr(run.section, facts.name).matchups:
            if a in models and b in models:
                yield Subject(facts.name, (a, b))
    # With a given M1 there may be no seed data to check.
    seeds = any(run.store.exists(Ref(1, stage)) for stage in (Stage.IFT, Stage.EFT))
    first = 1 if seeds else FIRST_FEEDBACK_ITERATION
    for k in range(1, run.iterations + 1):
        for facts in (facts for facts in wanted if facts.of == "iteration"):
            if k >= max(facts.first_iteration, first):
                yield Subject(facts.name, iteration=k)


def run_jobs(jobs: Sequence[Job], log: Path, record: Path) -> list[Outcome]:
    """Run all jobs in order, printing a line for each; tracebacks of unexpected errors go to `log`.

    `record` is a file with the reason of each job's latest failure, for reports.

    Raises:
        StorageError, RunLocked: the next job would fail too.
    """
    outcomes = []
    failed = read_failures(record)
    spent: str | None = None
    for number, job in enumerate(jobs, start=1):
        began = time.monotonic()
        failure: str | None = None
        scores: Sequence[Score] = ()
        try:
            scores = job.run()
        except (StorageError, RunLocked):
            raise
        except BudgetSpent as error:
            failure = spent = str(error)
        except SrlmError as error:
            failure = str(error)
        except Exception as error:  # noqa: BLE001 - the other benchmarks must not be lost
            failure = f"{type(error).__name__}: {error} (traceback in {log})"
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("a", encoding="utf-8") as file:
                file.write(f"== {job.name}\n{traceback.format_exc()}\n")
        outcome = Outcome(job, scores, time.monotonic() - began, failure)
        outcomes.append(outcome)
        _keep_failure(record, failed, outcome)
        say(f"[{number}/{len(jobs)}] {line(outcome)}")
    if spent:
        say(f"The judge's budget is spent: {spent}")
    return outcomes


def line(outcome: Outcome) -> str:
    """Return a job's one line: headline score, number of items, duration."""
    job = outcome.job
    if outcome.failure is not None:
        return f"{job.name}: FAILED: {' '.join(outcome.failure.splitlines())}"
    took = duration(outcome.seconds)
    score = outcome.score(job.columns[0])
    if score is None:
        return f"{job.name}: done in {took}"
    return f"{job.name}: {score.key} {shown(score)}, {took}"


def shown(score: Score) -> str:
    """Format a score: value, interval, n and missing items."""
    if score.value is None:
        return f"– ({score.reason or 'nothing to measure'}; {score.missing} missing)"
    span = ""
    if score.low is not None and score.high is not None:
        span = f" [{score.low:.2f}, {score.high:.2f}]"
    missing = f", {score.missing} missing" if score.missing else ""
    return f"{score.value:.2f}{span} (n={score.n}{missing})"


def raise_failures(outcomes: Sequence[Outcome]) -> None:
    """Raise a summary if anything failed.

    Raises:
        EvaluationFailed: at least one job failed; the message names each.
    """
    failed = [outcome for outcome in outcomes if outcome.failure is not None]
    if not failed:
        return
    causes = " | ".join(f"{o.job.name}: {o.failure}" for o in failed)
    message = (
        f"{len(failed)} of {len(outcomes)} benchmarks failed, the others are complete; the "
        f"same command retries the failed ones. {causes}"
    )
    raise EvaluationFailed(message)


def _keep_failure(record: Path, failed: dict[str, str], outcome: Outcome) -> None:
    address, before = outcome.job.subject.address, dict(failed)
    failed.pop(address, None)
    if outcome.failure is not None:
        failed[address] = " ".join(outcome.failure.splitlines())
    if failed != before:
        write_failures(record, failed)


def matching(store: Store, what: str) -> list[Ref]:
    """Return the evaluation artifacts, finished or begun, whose address holds all parts of `what`.

    "mt_bench" matches that benchmark of every model, "M2" everything of M2, "M2/nlp/piqa" one task.
    """
    wanted = what.strip("/").split("/")
    found = []
    root = store.paths.root / "eval"
    for path in sorted(root.rglob("*")):
        stem = path.name.split(".")[0]
        stage = next((s for s in EVALUATION_STAGES if s.value == stem), None)
        address = path.parent.relative_to(root).as_posix()
        if stage is None or not path.is_file():
            continue
        parts = [*address.split("/"), stage.value]
        places = range(len(parts) - len(wanted) + 1)
        if any(parts[at : at + len(wanted)] == wanted for at in places):
            found.append(evaluation_ref(address, stage))
    return list(dict.fromkeys(found))
