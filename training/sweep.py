"""Running a sweep: each variant with each seed is trained and evaluated, one process at a time.

Every run is an ordinary run, made by the commands that people type. What has the same key in
several runs is made by the first that needs it and linked into the others (core/reuse.py), so the
seed stages are made once per seed. There is no state but the runs' own: the same command resumes.
"""

from __future__ import annotations

import ctypes
import shlex
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from rich.table import Table

from core.errors import StageFailed, SweepFailed
from core.making import locked
from core.progress import duration, say
from training.launch.command import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from core.sweep import Sweep, SweepRun

_DONE, _STOPPED = 0, StageFailed.exit_code
_INTERRUPTED = 130
_PR_SET_PDEATHSIG = 1  # of Linux' prctl


class Ended(NamedTuple):
    """How one run ended: the exit codes of its commands, None for one that was not run."""

    run: SweepRun
    trained: int
    evaluated: int | None
    seconds: float

    @property
    def failed(self) -> bool:
        """Whether one of its commands failed."""
        return bool(self.trained or self.evaluated)


def run_sweep(
    sweep: Sweep,
    *,
    redo_stale: bool = False,
    fail_fast: bool = False,
    call: Callable[[Sequence[str]], int] | None = None,
) -> list[Ended]:
    """Make what is missing of every run; return how each ended.

    A run that fails does not stop the others unless `fail_fast`. `call` runs a command and returns
    its exit code (default: a process that ends with this one).

    Raises:
        RunLocked: another process is running this sweep.
        KeyboardInterrupt: a command was interrupted.
    """
    ended: list[Ended] = []
    with locked(sweep.folder / ".lock"):
        for number, run in enumerate(sweep.runs, start=1):
            say(f"[{number}/{len(sweep.runs)}] {run.name} → {run.config.folder}")
            ended.append(_make(sweep, run, redo_stale=redo_stale, call=call or call_apart))
            say(f"[{number}/{len(sweep.runs)}] {run.name}: {outcome(ended[-1])}")
            if fail_fast and ended[-1].failed:
                break
    return ended


def raise_failures(sweep: Sweep, ended: Sequence[Ended]) -> None:
    """Raise a summary if a run failed.

    Raises:
        SweepFailed: the message names each.
    """
    failed = [f"{one.run.name} ({outcome(one)})" for one in ended if one.failed]
    if failed:
        left = len(sweep.runs) - len(ended)
        begun = f", {left} were not begun" if left else ""
        raise SweepFailed(
            f"{len(failed)} of {len(sweep.runs)} runs failed{begun}; their messages are above, and "
            f"the same command retries them: {'; '.join(failed)}"
        )


def outcome(one: Ended) -> str:
    """Return how a run ended, in a few words."""
    took = duration(one.seconds)
    if one.trained:
        return f"FAILED: training ended with exit code {one.trained} after {took}"
    if one.evaluated:
        return f"FAILED: evaluation ended with exit code {one.evaluated} after {took}"
    return f"done in {took}"


def table(ended: Sequence[Ended]) -> Table:
    """Return a row for each run that was begun."""
    found = Table()
    for name in ("run", "folder", "outcome"):
        found.add_column(name, overflow="fold")
    for one in ended:
        found.add_row(one.run.name, str(one.run.config.folder), outcome(one))
    return found


def commands(sweep: Sweep, run: SweepRun, *, redo_stale: bool = False) -> Iterator[list[str]]:
    """Yield the commands of a run: its training, then its evaluation if one is wanted."""
    given = ["--config", str(run.file)]
    given += [word for setting in run.settings for word in ("--set", setting)]
    for folder in reused(sweep):
        given += ["--reuse", str(folder)]
    given += ["--redo", "stale"] if redo_stale else []
    yield ["training", *given]
    if sweep.evaluate:
        yield ["evaluation", "run", *given, "--only", ",".join(sweep.evaluate)]


def reused(sweep: Sweep) -> list[Path]:
    """Return the folders to take artifacts from: those that are named and there, then its own."""
    return [*(run for run in sweep.reuse if run.is_dir()), sweep.folder]


def _make(
    sweep: Sweep, run: SweepRun, *, redo_stale: bool, call: Callable[[Sequence[str]], int]
) -> Ended:
    began = time.monotonic()
    training, *evaluation = commands(sweep, run, redo_stale=redo_stale)
    trained, evaluated = call(training), None
    # A run that stopped for a reason it names (an unhealthy judge, no pairs) is evaluated as far
    # as it came.
    if evaluation and trained in {_DONE, _STOPPED} and run.config.folder.is_dir():
        evaluated = call(evaluation[0])
    return Ended(run, trained, evaluated, time.monotonic() - began)


def call_apart(words: Sequence[str]) -> int:
    """Run one of our packages in a process of its own, which a kill of this one ends too.

    Raises:
        KeyboardInterrupt: it was interrupted.
    """
    say(f"$ python -m {shlex.join(words)}")
    done = subprocess.run(  # noqa: S603 - our own interpreter and packages
        [sys.executable, "-m", *words],
        env=environment(),
        preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        check=False,
    )
    if done.returncode == _INTERRUPTED:
        raise KeyboardInterrupt
    return done.returncode


def _end_with_parent() -> None:
    """Be killed when the parent is: else it would hold its run's lock when the sweep is resumed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
