"""Evaluating a run: every benchmark on every model, then the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import ConfigError
from core.progress import say
from core.stages import EVALUATION_STAGES, Ref, evaluation_ref
from evaluation.benchmarks import jobs
from evaluation.human.results import refresh
from evaluation.run import open_evaluation
from evaluation.suite import Outcome, run_jobs

if TYPE_CHECKING:
    from core.config import Config
    from core.store import Store

STALE = "stale"


def evaluate(config: Config, *, redo: str | None = None) -> list[Outcome]:
    """Run what is missing; return what became of each benchmark.

    `redo` rebuilds the artifacts it matches (see `matching`), or all that are stale.

    Raises:
        ConfigError: there is no such run, no model of it is wanted, or `redo` matches nothing.
        RunLocked: another process is working on the run.
    """
    with open_evaluation(config, redo_stale=redo == STALE) as run:
        if redo is not None and redo != STALE:
            _remove(run.store, redo)
        for name in run.section.models:
            if not run.is_made(name):
                say(f"{name} is not made yet and is left out")
        todo = jobs(run)
        if not todo:
            message = f"{config.folder}: none of evaluation.models is made yet; train first"
            raise ConfigError(message)
        log = run.store.paths.root / "eval" / "errors.log"
        outcomes = run_jobs(todo, log, run.store.paths.outcomes)
        refresh(run.store.paths.root)  # how far new verdicts agree with people
        if summary := run.judge_summary():
            say(summary)
    return outcomes


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


def _remove(store: Store, what: str) -> None:
    found = matching(store, what)
    if not found:
        message = f"--redo {what!r}: no evaluation artifact of that name in {store.paths.root}"
        raise ConfigError(message)
    gone = store.remove(found)
    say(f"removed: {', '.join(map(str, gone))}")
