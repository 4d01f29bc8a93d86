"""Feedback by two workers on Ray, a worker and then the command killed, against one process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from core.stages import Paths, Ref, Stage
from core.store import Store
from tests import loop
from tests.conftest import ROOT
from tests.workers import engine_workers, kill_a_worker, wait_until_gone

pytestmark = pytest.mark.slow

ANSWERS, JUDGED = Ref(2, Stage.CANDIDATES), Ref(2, Stage.JUDGMENTS)
ON_RAY = ("--set", "engine.ray.workers=2", "--set", "engine.ray.rows_per_task=4")
_PATIENCE_S = 240


class Killed(NamedTuple):
    """A run on Ray, finished after a worker and then the command were killed."""

    folder: Path
    worker_died_before: bool
    calls_when_killed: list[loop.Call]


def lines(path: Path) -> int:
    """Lines of a partial artifact: the first is its key."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait(process: subprocess.Popen[bytes], until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not until():
        assert process.poll() is None, "the command ended before it was killed"
        assert time.monotonic() < deadline, "it did not get there"
        time.sleep(0.001)


@pytest.fixture(scope="module")
def killed(smoke_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Killed:
    """The smoke run with M1's answers and judgments made again, by `engine.ray.workers=2`."""
    out_dir = tmp_path_factory.mktemp("ray")
    shutil.copytree(smoke_run, out_dir / "smoke", copy_function=shutil.copy2)
    paths = Paths(out_dir / "smoke")
    Store(paths.root).remove([ANSWERS, JUDGED])
    paths.calls.unlink()
    with (
        (out_dir / "log").open("wb") as log,
        subprocess.Popen(
            loop.command(out_dir, *ON_RAY), cwd=ROOT, stdout=log, stderr=log
        ) as process,
    ):
        try:
            wait(process, lambda: lines(paths.partial(ANSWERS)) > 1)
            kill_a_worker(process.pid)
            before = not paths.manifest(ANSWERS).exists()
            wait(process, lambda: lines(paths.partial(JUDGED)) > 1)
            workers = engine_workers(process.pid)
        finally:
            os.kill(process.pid, signal.SIGKILL)
    wait_until_gone(workers)
    at_kill = loop.calls(paths.root)
    done = loop.run_apart(out_dir, *ON_RAY)
    assert done.returncode == 0, done.stderr
    return Killed(paths.root, before, at_kill)


def test_answers_and_judgments_are_those_of_one_process(killed: Killed, smoke_run: Path) -> None:
    assert killed.worker_died_before
    ours, theirs = loop.manifests(killed.folder), loop.manifests(smoke_run)
    assert ours.keys() == theirs.keys()
    for ref in (ANSWERS, JUDGED):
        rows = Paths(killed.folder).artifact(ref).read_bytes()
        assert rows == Paths(smoke_run).artifact(ref).read_bytes()
        for field in ("sha256", "counts", "facts", "engine"):
            assert ours[str(ref)][field] == theirs[str(ref)][field]


def test_every_draw_was_handed_out_once(killed: Killed, smoke_run: Path) -> None:
    times = Counter(loop.calls(killed.folder))
    again = [str(ref) for ref in (ANSWERS, JUDGED)]
    assert times.keys() == {call for call in loop.calls(smoke_run) if call[0] in again}
    # A row may be lost between the journal and the artifact: the last one before the kill.
    assert {call for call, n in times.items() if n > 1} <= set(killed.calls_when_killed[-1:])
    # The command was killed among judgments, and went on from those that were there.
    stages = Counter(call[0] for call in killed.calls_when_killed)
    assert 0 < stages[str(JUDGED)] < sum(call[0] == str(JUDGED) for call in times)


def test_a_run_made_on_ray_is_finished_for_one_process_too(killed: Killed) -> None:
    before = loop.manifests(killed.folder)
    done = loop.run_apart(killed.folder.parent)
    assert done.returncode == 0, done.stderr
    assert loop.manifests(killed.folder) == before
