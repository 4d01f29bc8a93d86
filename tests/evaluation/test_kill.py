"""kill -9 while a run is evaluated: nothing judged is lost, nothing is asked twice."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from core.stages import Stage, evaluation_ref
from core.store import Store
from judges.backends.cassette import Cassette
from tests import loop
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

_LEAST_KILLS = 5
SETTINGS = (
    'evaluation.nlp.tasks=["piqa"]',
    'evaluation.models=["M1","M2"]',
    'evaluation.head_to_head.matchups=[["M2","M1"]]',
    'evaluation.benchmarks=["head_to_head","alpaca_eval","mt_bench","nlp","agreement"]',
)


def command(out_dir: Path) -> list[str]:
    """The command that people run."""
    settings = [part for s in (f"out_dir={out_dir}", *SETTINGS) for part in ("--set", s)]
    return [sys.executable, "-m", "evaluation", "run", "--config", str(loop.SMOKE), *settings]


def evaluate(out_dir: Path) -> None:
    done = subprocess.run(
        command(out_dir), cwd=ROOT, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr


def kill_once_begun(out_dir: Path, address: str, stage: Stage, delay_s: float) -> bool:
    """Kill the command `delay_s` after an artifact begins; False if it ended by itself first."""
    paths, ref = Store(out_dir / "smoke").paths, evaluation_ref(address, stage)

    def has_begun() -> bool:
        return paths.partial(ref).exists() or paths.manifest(ref).exists()

    return loop.killed_once(command(out_dir), has_begun, out_dir / "killed.log", delay_s)


def results(out_dir: Path) -> dict[str, str]:
    """The bytes of every evaluation artifact."""
    root = out_dir / "smoke" / "eval"
    return {str(p.relative_to(root)): p.read_text() for p in sorted(root.rglob("*.jsonl"))}


def recorded(out_dir: Path) -> int:
    with Cassette(Store(out_dir / "smoke").paths.cassette, read_only=True) as cassette:
        return len(cassette)


def test_an_evaluation_killed_again_and_again_ends_like_an_uninterrupted_one(
    smoke_run: Path, tmp_path: Path
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for out_dir in (whole, killed):
        shutil.copytree(smoke_run, out_dir / "smoke", copy_function=shutil.copy2)
        (out_dir / "smoke" / "calls.jsonl").unlink()  # the journal of training
    evaluate(whole)
    draw = random.Random(20261124)
    places = [
        ("M1/nlp/piqa", Stage.ITEMS),
        ("M1/agreement", Stage.RANKED_JUDGMENTS),
        ("M1/alpaca_eval", Stage.ANSWERS),
        ("M1/mt_bench", Stage.ANSWERS),
        ("M1/mt_bench", Stage.TURN_JUDGMENTS),
        ("M2/mt_bench", Stage.TURN_JUDGMENTS),
        ("head_to_head/M2-M1", Stage.VERDICTS),
    ]
    kills = [kill_once_begun(killed, *place, draw.uniform(0, 0.4)) for place in places]
    assert sum(kills) >= _LEAST_KILLS
    evaluate(killed)
    assert results(killed) == results(whole)
    assert recorded(killed) == recorded(whole)
    # Of the rows an engine handed out, each was asked for once, but for those in flight at a kill.
    repeated = Counter(loop.calls(killed / "smoke")) - Counter(loop.calls(whole / "smoke"))
    assert sum(repeated.values()) <= sum(kills)
