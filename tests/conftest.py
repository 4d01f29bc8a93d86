"""What several test modules share: the tiny model and where the real data lies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data that nobody here wrote (SRLM_SHARED, default ../shared)."""
    folder = Path(os.environ.get("SRLM_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no real data at {folder}; set SRLM_SHARED to its folder")
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer random Llama with pad ≠ end of turn; never change its files."""
    from engines.embedded import make_tiny

    folder = tmp_path_factory.mktemp("models") / "tiny"
    make_tiny(folder, ["The quick brown fox jumps over the lazy dog. Score: 4"] * 3, seed=0)
    return folder


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One uninterrupted smoke run, M0 → M3; never change its files."""
    from core.config import load_config
    from training.iterate import iterate
    from training.run import open_run

    out_dir = tmp_path_factory.mktemp("runs")
    config = load_config(ROOT / "configs" / "smoke.toml", [f"out_dir={out_dir}"])
    with open_run(config) as run:
        iterate(run, config.iterations)
    return out_dir / "smoke"
