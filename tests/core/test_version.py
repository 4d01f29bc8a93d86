import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from core.stages import project_root
from core.version import code_version

RELEASE = r"\d+\.\d+\.\d+"
ASK = "from core.version import code_version; print(code_version())"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a copy of core/ in a folder that is no Git repository yet."""
    folder = tmp_path / "copy"
    without_bytecode = shutil.ignore_patterns("__pycache__")
    shutil.copytree(project_root() / "core", folder / "core", ignore=without_bytecode)
    return folder


def run(folder: Path, *command: str) -> str:
    # Variables such as GIT_DIR, set inside Git hooks, would point at this repository.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    clean |= {"GIT_CEILING_DIRECTORIES": str(folder.parent), "GIT_CONFIG_GLOBAL": os.devnull}
    clean |= {"PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, cwd=folder, env=clean, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def version_of(folder: Path) -> str:
    return run(folder, sys.executable, "-c", ASK)


def commit(folder: Path) -> str:
    author = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    run(folder, "git", "init", "--quiet")
    run(folder, "git", "add", "core")
    run(folder, "git", *author, "commit", "--quiet", "--message", "first")
    return run(folder, "git", "rev-parse", "HEAD")[:10]


def test_outside_a_checkout_the_version_is_the_release_alone(checkout: Path) -> None:
    assert re.fullmatch(RELEASE, version_of(checkout))


def test_a_checkout_adds_its_commit_and_says_whether_tracked_files_were_changed(
    checkout: Path,
) -> None:
    head = commit(checkout)
    assert re.fullmatch(rf"{RELEASE}\+g{head}", version_of(checkout))
    (checkout / "runs.jsonl").write_text("an artifact, not code")
    assert re.fullmatch(rf"{RELEASE}\+g{head}", version_of(checkout))
    with (checkout / "core" / "version.py").open("a") as file:
        file.write("# changed\n")
    assert re.fullmatch(rf"{RELEASE}\+g{head}\.dirty", version_of(checkout))


def test_one_process_gives_one_version_though_its_files_are_edited_meanwhile(
    checkout: Path,
) -> None:
    # What runs is the code as it was loaded, so the first answer stays the right one.
    head = commit(checkout)
    edit = "from pathlib import Path; Path('core/jsonl.py').write_text('')"
    found = run(checkout, sys.executable, "-c", f"{ASK}; {edit}; print(code_version())")
    assert [line.partition("+")[2] for line in found.splitlines()] == [f"g{head}"] * 2


def test_this_code_knows_its_version() -> None:
    assert re.fullmatch(rf"{RELEASE}(\+g[0-9a-f]{{10}}(\.dirty)?)?", code_version())
