"""Replaces one function of the product by a wrong one, to see that a test notices.

As a plugin of pytest it plants one bug of tests/planted_bugs.py before anything else is imported:

    pytest -p tests.planting --plant the_first_score_counts_not_the_last tests/judges

A plant names its function by module and qualified name. Formatting, local names and the body of the
function may change freely, and so may its module: a function that is no longer where it was is
looked for by its name in the whole product.
"""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("core", "engines", "judges", "web", "training", "evaluation", "reports")

# Gets the right function, then the arguments of the call.
Wrong = Callable[..., Any]


class Plant(NamedTuple):
    """A bug: the function it replaces ("judges.replies:parse_score"), and the test that notices."""

    bug: str
    function: str
    wrong: Wrong
    noticed_by: str


PLANTS: dict[str, Plant] = {}


def plant(function: str, *, noticed_by: str) -> Callable[[Wrong], Wrong]:
    """Register a wrong function under its own name."""

    def register(wrong: Wrong) -> Wrong:
        bug = wrong.__name__
        assert bug not in PLANTS, f"two plants are called {bug}"
        PLANTS[bug] = Plant(bug, function, wrong, noticed_by)
        return wrong

    return register


def module_of(function: str) -> str:
    """Return the module that defines a function, wherever it has moved to."""
    module, _, name = function.partition(":")
    path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
    if path.is_file() and name in _functions_of(path):
        return module
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    found = [path.relative_to(ROOT) for path in paths if name in _functions_of(path)]
    assert len(found) == 1, f"{function}: {name} is defined in {list(map(str, found))}"
    return ".".join(found[0].with_suffix("").parts).removesuffix(".__init__")


def node_of(test: str) -> str:
    """Return pytest's name of a test, "tests/.../test_pairs.py::test_x", wherever it has moved to.

    `test` is the test's name; where several modules have one of that name, "test_pairs.py::test_x".
    """
    file, _, name = test.rpartition("::")
    pattern = re.compile(rf"^def {re.escape(name.partition('[')[0])}\(", re.MULTILINE)
    modules = _test_modules().items()
    found = [path for path, text in modules if file in ("", path.name) and pattern.search(text)]
    assert len(found) == 1, f"{test} is defined in {list(map(str, found))}"
    return f"{found[0].relative_to(ROOT).as_posix()}::{name}"


@lru_cache(maxsize=1)
def _test_modules() -> dict[Path, str]:
    paths = sorted((ROOT / "tests").rglob("test_*.py"))
    return {path: path.read_text(encoding="utf-8") for path in paths}


def _functions_of(path: Path) -> set[str]:
    """Return the qualified names of a module's functions and methods."""
    return set(_functions(ast.parse(path.read_text(encoding="utf-8")), ""))


def _functions(node: ast.AST, prefix: str) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + child.name
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}{child.name}.")


class _Planter(MetaPathFinder):
    """Replaces the function as soon as its module is executed, before others import from it."""

    def __init__(self, planted: Plant) -> None:
        self.module = module_of(planted.function)
        self._name = planted.function.partition(":")[2]
        self._wrong = planted.wrong

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.module:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        assert spec is not None
        assert spec.loader is not None
        execute = spec.loader.exec_module

        def execute_and_plant(module: ModuleType) -> None:
            execute(module)
            self._replace(module)

        spec.loader.exec_module = execute_and_plant  # type: ignore[method-assign]
        return spec

    def _replace(self, module: ModuleType) -> None:
        *classes, name = self._name.split(".")
        owner: Any = functools.reduce(getattr, classes, module)
        there = vars(owner)[name]
        if isinstance(there, property):
            setattr(owner, name, property(self._wrapped(there.fget)))
        elif isinstance(there, staticmethod | classmethod):
            setattr(owner, name, type(there)(self._wrapped(there.__func__)))
        else:
            setattr(owner, name, self._wrapped(there))

    def _wrapped(self, right: Any) -> Any:
        @functools.wraps(right)
        def wrong(*args: Any, **kwargs: Any) -> Any:
            return self._wrong(right, *args, **kwargs)

        return wrong


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--plant", help="the bug to plant")


def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    import tests.planted_bugs  # noqa: F401 - registers the plants

    name = early_config.known_args_namespace.plant
    if name is not None:
        planter = _Planter(PLANTS[name])
        assert planter.module not in sys.modules, f"{planter.module} is already imported"
        sys.meta_path.insert(0, planter)
