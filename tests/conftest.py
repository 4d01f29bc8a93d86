"""What several test modules share: the tiny model and where the real data lies."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

import engines  # noqa: F401 - before anything imports tqdm, which reads its setting then

settings.register_profile("untimed", deadline=None)  # nothing is timed in a test
settings.load_profile("untimed")

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

    def make(out_dir: Path) -> None:
        config = load_config(ROOT / "configs" / "smoke.toml", [f"out_dir={out_dir}"])
        with open_run(config) as run:
            iterate(run, config.iterations)

    return _made_once(tmp_path_factory, "trained", make) / "smoke"


@pytest.fixture(scope="session")
def evaluated(smoke_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The out_dir of an evaluated copy of the smoke run; never change its files."""
    from evaluation.suite import evaluate, raise_failures
    from tests.loop import evaluation_in

    def make(out_dir: Path) -> None:
        shutil.copytree(smoke_run, out_dir / "smoke", copy_function=shutil.copy2)
        raise_failures(evaluate(evaluation_in(out_dir)))

    return _made_once(tmp_path_factory, "evaluated", make)


def _made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder that `make` fills once, also when several test processes want it."""
    parallel = "PYTEST_XDIST_WORKER" in os.environ
    root = factory.getbasetemp().parent if parallel else factory.getbasetemp()
    folder, done = root / name, root / f"{name}.done"
    with FileLock(root / f"{name}.lock"):
        if not done.exists():
            folder.mkdir()
            make(folder)
            done.touch()
    return folder
