"""Running benchmarks one after another: a failed one does not lose the others."""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.errors import BudgetSpent, EvaluationFailed, RunLocked, SrlmError, StorageError
from core.outcomes import read_failures, write_failures
from core.progress import duration, say

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from core.records import Score


@dataclass(frozen=True, slots=True)
class Job:
    """One line of the suite: a model (or matchup, or iteration) and a benchmark."""

    subject: str
    benchmark: str
    address: str
    """Where its artifacts lie below eval/."""
    run: Callable[[], Sequence[Score]]
    headlines: tuple[str, ...]
    """Keys of the scores that tables show; the first one stands in the job's line."""
    part: str = ""
    """What of the benchmark, where it has parts: a task."""

    @property
    def title(self) -> str:
        """Return the benchmark and its part."""
        return f"{self.benchmark} {self.part}".strip()

    @property
    def name(self) -> str:
        """Return how the line begins."""
        return f"{self.subject} × {self.title}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job: its scores, or why it failed."""

    job: Job
    scores: Sequence[Score]
    seconds: float
    failure: str | None = None

    def score(self, key: str) -> Score | None:
        """Return one of its scores; None if there is no such number."""
        return next((score for score in self.scores if score.key == key), None)


def run_jobs(jobs: Sequence[Job], log: Path, record: Path) -> list[Outcome]:
    """Run all jobs in order, printing a line for each; tracebacks of surprises go to `log`.

    `record` is a file that keeps why each job failed when it was last tried, for reports.

    Raises:
        StorageError, RunLocked: the next job could not do better.
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
            _keep_traceback(log, job)
        outcome = Outcome(job, scores, time.monotonic() - began, failure)
        outcomes.append(outcome)
        _keep_failure(record, failed, outcome)
        say(f"[{number}/{len(jobs)}] {line(outcome)}")
    if spent:
        say(f"The judge's budget is spent: {spent}")
    return outcomes


def line(outcome: Outcome) -> str:
    """Return a job's one line: what it found, on how many items, how long it took."""
    job = outcome.job
    if outcome.failure is not None:
        return f"{job.name}: FAILED: {' '.join(outcome.failure.splitlines())}"
    took = duration(outcome.seconds)
    score = outcome.score(job.headlines[0])
    if score is None:
        return f"{job.name}: done in {took}"
    return f"{job.name}: {score.key} {shown(score)}, {took}"


def shown(score: Score) -> str:
    """Return a score as people read it: value, interval, n, and what is missing."""
    if score.value is None:
        return f"– ({score.reason or 'nothing to measure'}; {score.missing} missing)"
    span = ""
    if score.low is not None and score.high is not None:
        span = f" [{score.low:.2f}, {score.high:.2f}]"
    missing = f", {score.missing} missing" if score.missing else ""
    return f"{score.value:.2f}{span} (n={score.n}{missing})"


def raise_failures(outcomes: Sequence[Outcome]) -> None:
    """End with a summary if anything failed.

    Raises:
        EvaluationFailed: at least one job failed; the message names each.
    """
    failed = [outcome for outcome in outcomes if outcome.failure is not None]
    if not failed:
        return
    causes = " | ".join(f"{o.job.name}: {o.failure}" for o in failed)
    message = (
        f"{len(failed)} of {len(outcomes)} benchmarks failed, the others are done and kept; the "
        f"same command tries the failed ones again. {causes}"
    )
    raise EvaluationFailed(message)


def _keep_failure(record: Path, failed: dict[str, str], outcome: Outcome) -> None:
    """Write down a failure, or that what failed before has succeeded now."""
    address, before = outcome.job.address, dict(failed)
    if outcome.failure is None:
        failed.pop(address, None)
    else:
        failed[address] = " ".join(outcome.failure.splitlines())
    if failed != before:
        write_failures(record, failed)


def _keep_traceback(log: Path, job: Job) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file:
        file.write(f"== {job.name}\n{traceback.format_exc()}\n")
