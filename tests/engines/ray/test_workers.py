"""The dispatcher's decisions, with workers of this process in the place of actors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from ray.exceptions import RayActorError

from core.config import EngineSection
from core.errors import ModelError, WorkersLost
from engines.ray.tasks import fingerprint
from engines.ray.workers import ATTEMPTS, Dispatcher, EngineWorker


class Remote:
    """Called as actors' methods are: `.remote(...)`, then awaited."""

    def __init__(self, method: Callable[..., Awaitable[str]]) -> None:
        self.remote = method


class LocalWorker:
    """Answers tasks until it is told to die: `dies_on` are tasks that kill it, each time."""

    def __init__(self, name: str, *, dies_on: tuple[str, ...] = (), loads: bool = True) -> None:
        self.name, self._dies_on, self._loads = name, dies_on, loads
        self.busy = self.deaths = 0
        self.done: list[str] = []
        self.open, self.run = Remote(self._open), Remote(self._run)

    async def _open(self) -> str:
        await asyncio.sleep(0)
        if not self._loads:
            raise RayActorError
        return f'{{"engine": "{self.name}"}}'

    async def _run(self, task: str) -> str:
        self.busy += 1
        assert self.busy == 1, "two tasks at once"
        try:
            await asyncio.sleep(0)
        finally:
            self.busy -= 1
        if task in self._dies_on:
            self.deaths += 1
            raise RayActorError
        self.done.append(task)
        return f'{{"engine": "{self.name}", "rows": ["{task}"]}}'


def outcomes(workers: list[LocalWorker], tasks: list[str]) -> list[str]:
    async def all_at_once() -> list[str]:
        dispatcher = Dispatcher(workers)
        return await asyncio.gather(*(dispatcher.run(task) for task in tasks))

    return asyncio.run(asyncio.wait_for(all_at_once(), timeout=5))


def test_each_task_is_done_once_and_no_worker_has_two_at_once() -> None:
    workers = [LocalWorker("a"), LocalWorker("b")]
    tasks = [f"t{at}" for at in range(7)]
    found = outcomes(workers, tasks)
    assert all(f'"{task}"' in outcome for task, outcome in zip(tasks, found, strict=True))
    assert sorted(workers[0].done + workers[1].done) == tasks
    assert workers[0].done and workers[1].done


def test_a_dead_workers_task_goes_to_another_and_the_others_are_done() -> None:
    frail, sound = LocalWorker("frail", dies_on=("t0",)), LocalWorker("sound")
    outcomes([frail, sound], ["t0", "t1", "t2", "t3"])
    assert frail.deaths == 1
    assert sorted(frail.done + sound.done) == ["t0", "t1", "t2", "t3"]
    assert "t0" in sound.done


def test_a_worker_that_was_started_again_gets_tasks_again() -> None:
    only = LocalWorker("only", dies_on=("bad",))
    outcomes([only], ["bad", "t1"])
    assert only.done == ["t1"]


def test_a_worker_whose_task_was_given_up_gets_tasks_again() -> None:
    async def given_up_then_another() -> str:
        dispatcher = Dispatcher([only])
        first = asyncio.create_task(dispatcher.run("t0"))
        while not only.busy:
            await asyncio.sleep(0)
        first.cancel()
        return await dispatcher.run("t1")

    only = LocalWorker("only")
    asyncio.run(asyncio.wait_for(given_up_then_another(), timeout=5))
    assert only.done == ["t1"]


def test_a_task_that_kills_every_worker_is_given_up_and_says_so() -> None:
    workers = [LocalWorker(name, dies_on=("bad",)) for name in "ab"]
    bad, good = outcomes(workers, ["bad", "t1"])
    assert sum(worker.deaths for worker in workers) == ATTEMPTS
    with pytest.raises(WorkersLost, match=r"died 3 times on one task.*run the same command"):
        fingerprint(bad)
    assert '"t1"' in good


def test_one_worker_that_cannot_load_is_left_out() -> None:
    sound = LocalWorker("sound")
    outcomes([LocalWorker("frail", loads=False), sound], ["t0", "t1"])
    assert sorted(sound.done) == ["t0", "t1"]


def test_without_any_worker_that_loads_every_task_fails_and_none_waits_for_ever() -> None:
    frail = [LocalWorker(name, loads=False) for name in "ab"]
    for outcome in outcomes(frail, ["t0", "t1", "t2"]):
        with pytest.raises(WorkersLost, match="while loading the model"):
            fingerprint(outcome)


def test_a_folder_that_is_no_model_is_an_answer_not_a_death(tmp_path: Path) -> None:
    section = EngineSection(device="cpu", dtype="float32")
    worker: Any = EngineWorker(tmp_path, section, {"weights_sha256": "digest"})
    for outcome in (worker.open(), worker.run("{}")):
        with pytest.raises(ModelError, match=str(tmp_path)):
            fingerprint(outcome)
