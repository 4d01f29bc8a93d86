"""Running the whole loop in tests: the smoke configuration in a folder of its own."""

from __future__ import annotations

import importlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, TypeAlias

from core.config import Config, load_config
from tests.conftest import ROOT

SMOKE = ROOT / "configs" / "smoke.toml"
SMALL_EVALUATION = (
    'evaluation.nlp.tasks=["piqa","nq_open"]',
    'evaluation.models=["M0","M1","M2"]',
    'evaluation.head_to_head.matchups=[["M2","M1"]]',
)
_START_TIMEOUT_S = 240


def command(out_dir: Path, *extra: str, config: Path = SMOKE) -> list[str]:
    """The command that people run."""
    return [
        sys.executable, "-m", "training", "--config", str(config),
        "--set", f"out_dir={out_dir}", *extra,
    ]  # fmt: skip


def run_apart(
    out_dir: Path, *extra: str, config: Path = SMOKE, timeout_s: float = 900
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end in a process of its own."""
    return subprocess.run(
        command(out_dir, *extra, config=config),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def run(out_dir: Path, *extra: str, config: Path = SMOKE) -> subprocess.CompletedProcess[str]:
    """Run the command to its end in this process, without importing everything anew."""
    return main("training", *command(out_dir, *extra, config=config)[3:])


def main(package: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `python -m package arguments...` in this process; return what a new one would give.

    What ends a new process in a traceback is raised here.
    """
    words = [str(argument) for argument in arguments]
    entry = importlib.import_module(f"{package}.__main__").main
    out, err, code = io.StringIO(), io.StringIO(), 0
    given = sys.argv
    sys.argv = [package, *words]
    try:
        with chdir(ROOT), redirect_stdout(out), redirect_stderr(err):
            try:
                entry()
            except SystemExit as ended:
                code = int(ended.code or 0)
    finally:
        sys.argv = given
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def evaluation_in(out_dir: Path, *settings: str) -> Config:
    """The smoke configuration for a run in `out_dir`, evaluated on a part of everything."""
    return load_config(SMOKE, [f"out_dir={out_dir}", *SMALL_EVALUATION, *settings])


def manifests(run_folder: Path) -> dict[str, dict[str, Any]]:
    """Every finished artifact's manifest by its address."""
    found = [json.loads(p.read_text()) for p in run_folder.glob("iter*/*.manifest.json")]
    return {manifest["artifact"]: manifest for manifest in found}


Call: TypeAlias = tuple[str, str, int, str]


def calls(run_folder: Path) -> list[Call]:
    """Every row an engine handed out: stage, key, draw, engine."""
    path = run_folder / "calls.jsonl"
    text = path.read_text() if path.exists() else ""
    rows = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return [(r["stage"], r["key"], r["draw"], r["engine"]) for r in rows]


def killed_once(
    command: list[str], has_begun: Callable[[], bool], log_file: Path, delay_s: float
) -> bool:
    """Start a command, kill -9 it `delay_s` after something begins; False if it ended before."""
    with (
        log_file.open("ab") as log,
        subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log) as process,
    ):
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not has_begun() and process.poll() is None:
            assert time.monotonic() < deadline, "it did not begin"
            time.sleep(0.0005)
        time.sleep(delay_s)
        if process.poll() is not None:
            return False
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    return True
