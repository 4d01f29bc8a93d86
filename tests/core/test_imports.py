import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from core.stages import project_root

HEAVY = {"torch", "transformers", "trl", "datasets", "accelerate", "vllm", "openai", "scipy"}


def packages() -> list[str]:
    with (project_root() / "pyproject.toml").open("rb") as file:
        settings = tomllib.load(file)
    return list(settings["tool"]["importlinter"]["root_packages"])


def imported_by(*arguments: str) -> tuple[str, set[str]]:
    """Return what a Python command printed and the top-level modules it imported."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        cwd=project_root(),
        capture_output=True,
        text=True,
        check=True,
    )
    names = (line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line)
    return done.stdout, {name.partition(".")[0] for name in names}


def test_importing_core_and_the_command_line_loads_no_heavy_library() -> None:
    names = [f"core.{path.stem}" for path in (project_root() / "core").glob("[a-z]*.py")]
    assert "core.store" in names
    code = f"import sys, core, {', '.join(names)}, training.__main__; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project_root(), capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert {"core", "training", "typer"} <= loaded
    assert loaded & HEAVY == set()


@pytest.mark.parametrize("arguments", [("training", "--help"), ("evaluation", "run", "--help")])
def test_help_appears_without_loading_a_heavy_library(arguments: tuple[str, ...]) -> None:
    printed, loaded = imported_by("-m", *arguments)
    assert "--dry-run" in printed
    assert {"core", "typer"} <= loaded
    assert loaded & HEAVY == set()


@pytest.mark.parametrize("name", packages())
def test_a_package_is_this_repositorys_not_another_of_the_same_name(name: str) -> None:
    # "core" and "evaluation" are common names: an installed namesake must not be picked up.
    module = importlib.import_module(name)
    assert module.__file__ is not None
    assert Path(module.__file__).resolve() == project_root() / name / "__init__.py"
    # Seen from the tests, not from core, in case core itself is the namesake.
    assert project_root() == Path(__file__).resolve().parents[2]
