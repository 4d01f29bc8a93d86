"""Running the whole loop in tests: the smoke configuration in a folder of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, TypeAlias

from tests.conftest import ROOT

SMOKE = ROOT / "configs" / "smoke.toml"


def command(out_dir: Path, *extra: str, config: Path = SMOKE) -> list[str]:
    """The command that people run."""
    return [
        sys.executable, "-m", "training", "--config", str(config),
        "--set", f"out_dir={out_dir}", *extra,
    ]  # fmt: skip


def run(
    out_dir: Path, *extra: str, config: Path = SMOKE, timeout_s: float = 900
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        command(out_dir, *extra, config=config),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


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
