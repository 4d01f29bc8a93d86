"""The actors of a pool: workers with one engine each, and a dispatcher of tasks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import ObjectLostError, OutOfMemoryError, RayActorError

from core.errors import SrlmError, WorkersLost
from engines.opening import close_engine, open_engine
from engines.ray.tasks import failed, perform, succeeded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from core.config import EngineSection
    from engines.engine import Engine
    from engines.models import Opening

ATTEMPTS = 3
# Raised by a call when the process, its machine or its result is lost.
_GONE = (RayActorError, OutOfMemoryError, ObjectLostError)


class EngineWorker:
    """Holds one engine. Expected errors are returned as outcomes, so that the process survives."""

    def __init__(self, folder: Path, section: EngineSection, opening: Opening) -> None:
        """Load nothing yet: an error while an actor is created would look like a dead worker."""
        self._folder, self._section, self._opening = folder, section, opening
        self._loaded: Engine | None = None

    @ray.method(max_task_retries=ATTEMPTS - 1)
    def open(self) -> str:
        """Load the engine; the outcome holds its fingerprint, or why it cannot be loaded."""
        return self._outcome(succeeded)

    def run(self, task: str) -> str:
        """Perform a task and return its outcome."""
        return self._outcome(lambda engine: perform(engine, task))

    def close(self) -> None:
        """Close the engine."""
        if self._loaded is not None:
            close_engine(self._loaded)
            self._loaded = None

    def _outcome(self, of: Callable[[Engine], str]) -> str:
        try:
            if self._loaded is None:
                self._loaded = open_engine(self._folder, self._section, **self._opening)
            return of(self._loaded)
        except SrlmError as error:
            return failed(error)


class Dispatcher:
    """Assigns each task to a free worker.

    A task whose worker dies is assigned to another, up to three attempts; Ray restarts the dead
    worker, which is free again once it has loaded its engine.
    """

    def __init__(self, workers: Sequence[Any]) -> None:
        self._workers = workers
        self._starts: list[asyncio.Task[str]] = []
        self._free: asyncio.Queue[Any] = asyncio.Queue()
        self._usable = len(workers)

    async def open(self) -> str:
        """Load all engines; return the outcome of the first to finish."""
        self._start()
        done, _ = await asyncio.wait(self._starts, return_when=asyncio.FIRST_COMPLETED)
        return done.pop().result()

    async def run(self, task: str) -> str:
        """Return a task's outcome: an error if workers keep dying on it."""
        self._start()
        for _ in range(ATTEMPTS):
            worker = await self._free.get()
            if worker is None:  # no worker is left: end the other tasks as well
                self._free.put_nowait(None)
                return failed(WorkersLost(_died("while loading the model")))
            try:
                outcome: str = await worker.run.remote(task)
            except asyncio.CancelledError:  # the call was cancelled while the worker is busy
                self._bring_back(worker)
                raise
            except _GONE:
                self._bring_back(worker)
            else:
                self._free.put_nowait(worker)
                return outcome
        return failed(WorkersLost(_died("on one task")))

    def _start(self) -> None:
        if not self._starts:
            for worker in self._workers:
                self._bring_back(worker)

    def _bring_back(self, worker: Any) -> None:
        self._starts.append(asyncio.create_task(self._make_free(worker)))

    async def _make_free(self, worker: Any) -> str:
        """Wait until a worker has loaded its engine, then make it available."""
        try:
            outcome: str = await worker.open.remote()
        except _GONE:
            self._usable -= 1
            if not self._usable:
                self._free.put_nowait(None)
            return failed(WorkersLost(_died("while loading the model")))
        self._free.put_nowait(worker)
        return outcome


def _died(when: str) -> str:
    return (
        f"engine workers on Ray died {ATTEMPTS} times {when}, most likely out of memory: lower "
        "engine.max_batch_rows or max_batch_tokens (vLLM: its memory settings) or "
        "engine.ray.workers; their output is in Ray's logs (/tmp/ray/session_latest/logs on the "
        "worker's machine). Finished rows are kept: run the same command to continue"
    )
