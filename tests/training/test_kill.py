"""kill -9 at random moments in every stage: nothing finished is lost, nothing is asked twice."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

from core.stages import Paths, Ref, Stage, is_model, order_of, stages_of
from tests import loop

pytestmark = pytest.mark.slow

_LEAST_KILLS = 20


def stages_in_order() -> list[Ref]:
    return sorted((Ref(k, s) for k in range(4) for s in stages_of(k)), key=order_of)


def has_begun(paths: Paths, ref: Ref) -> bool:
    scratch = paths.work(ref) / "key.json" if is_model(ref) else paths.partial(ref)
    return scratch.exists() or paths.manifest(ref).exists()


def kill_inside(out_dir: Path, ref: Ref, delay_s: float) -> bool:
    """Start the loop, kill it `delay_s` after `ref` begins; False if it ended by itself first."""
    paths = Paths(out_dir / "smoke")
    command, log = loop.command(out_dir), out_dir / "killed.log"
    return loop.killed_once(command, lambda: has_begun(paths, ref), log, delay_s)


def test_a_run_killed_at_least_twenty_times_ends_like_an_uninterrupted_one(
    smoke_run: Path, tmp_path: Path
) -> None:
    draw = random.Random(20260101)
    whole = loop.manifests(smoke_run)
    killed_in: list[str] = []
    in_flight: set[loop.Call] = set()
    for ref in (ref for ref in stages_in_order() if str(ref) in whole):
        # Anywhere between the stage's first moment and, for long ones, most of its time.
        seconds = whole[str(ref)]["seconds"]
        if kill_inside(tmp_path, ref, draw.uniform(0, 0.8 * seconds)):
            killed_in.append(str(ref))
            # The last row handed out may have been lost between the engine and the artifact.
            in_flight |= set(loop.calls(tmp_path / "smoke")[-1:])
    last = loop.run_apart(tmp_path)
    assert last.returncode == 0, last.stderr
    assert len(killed_in) >= _LEAST_KILLS, killed_in
    assert {"iter1/sft", "iter1/model", "iter2/judgments", "iter3/model"} <= set(killed_in)

    resumed = loop.manifests(tmp_path / "smoke")
    assert resumed.keys() == whole.keys()
    for name, manifest in whole.items():
        # The hash of an artifact is that of its bytes: rows, or every weight of every tensor.
        assert resumed[name]["sha256"] == manifest["sha256"], name
        assert resumed[name]["counts"] == manifest["counts"], name
        assert resumed[name]["facts"] == manifest["facts"], name

    calls = loop.calls(tmp_path / "smoke")
    repeated = {call for call, times in Counter(calls).items() if times > 1}
    assert repeated <= in_flight
    assert len(calls) - len(set(calls)) <= 1  # a window of microseconds; seen: none
    asked = {call[:3] for call in loop.calls(smoke_run)}
    assert {call[:3] for call in calls} == asked


def test_the_stages_that_ask_the_model_before_go_on_after_a_kill(
    smoke_run: Path, tmp_path: Path
) -> None:
    settings = [
        "--redo", "stale",
        "--set", "iteration.3.judge.draws=8",
        "--set", "iteration.3.pairs.consistency=prompt",
        "--set", "iteration.3.pairs.filter=implicit_reward",
    ]  # fmt: skip
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        shutil.copytree(smoke_run, folder / "smoke", copy_function=shutil.copy2)
    paths = Paths(killed / "smoke")
    stopped = [
        loop.killed_once(
            loop.command(killed, *settings),
            lambda ref=ref: has_begun(paths, ref),  # type: ignore[misc]
            killed / "log",
            0.05,
        )
        for ref in (
            Ref(3, Stage.PREVIOUS_JUDGMENTS),
            Ref(3, Stage.IMPLICIT_REWARDS),
        )
    ]
    assert any(stopped)
    for folder in (whole, killed):
        last = loop.run_apart(folder, *settings)
        assert last.returncode == 0, last.stderr
    found = loop.manifests(killed / "smoke")
    for name, manifest in loop.manifests(whole / "smoke").items():
        assert found[name]["sha256"] == manifest["sha256"], name
