"""Mutation testing: plant small random bugs one at a time, and list those that no test notices.

    python tools/mutate.py --count 30 --seed 1
    python tools/mutate.py --count 10 --seed 2 reports/gate core/paired.py

Each mutant is one change of one expression or statement, made in a copy of the project. It is
tested by the tests of its module first, then by those of its package and of every test module that
imports it, then by the whole of `make test`, up to the first failure. A survivor is printed with
its diff: either a test is missing, or the change makes no difference (an equivalent mutant).
"""

from __future__ import annotations

import argparse
import ast
import compileall
import difflib
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import TYPE_CHECKING, Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import engines  # noqa: E402, F401 - what it sets in the environment goes to the processes
from tests.warm_pytest import WarmPytest  # noqa: E402 - found through the line above

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TARGETS = ("core", "judges", "training/data", "training/trainers", "reports/gate")
_TEST_TIMEOUT_S = 120
_INERT_FIELDS = ("annotation", "returns", "decorator_list", "bases", "keywords")
_OPERATORS: dict[type[ast.AST], Any] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
    ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


class Mutant(NamedTuple):
    """One change: bytes `begin` to `end` of a file's `source` are replaced by `text`."""

    file: str
    line: int
    kind: str
    begin: int
    end: int
    text: str
    source: bytes


class Outcome(NamedTuple):
    """The test that noticed a mutant (None: it survived), and after how many seconds."""

    test: str | None
    seconds: float


def main() -> int:
    """Run the command; return 1 if a mutant survived."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("targets", nargs="*", default=TARGETS, help="folders or files to mutate")
    parser.add_argument("--count", type=int, default=30, help="number of mutants")
    parser.add_argument("--seed", type=int, default=1, help="of the choice of mutants")
    parser.add_argument("--list", action="store_true", help="only list the mutants")
    parser.add_argument("--quick", action="store_true", help="leave out the whole of make test")
    parser.add_argument("--markdown", type=Path, help="file to write a table to")
    chosen = parser.parse_args()
    mutants = choose(chosen.targets, chosen.count, chosen.seed)
    if chosen.list:
        _say("\n".join(f"{m.file}:{m.line} {m.kind}" for m in mutants))
        return 0
    rows = [_TABLE_HEAD]
    survived = 0
    with Copy() as copy:
        for number, mutant in enumerate(mutants, start=1):
            outcome = copy.test(mutant, quick=chosen.quick)
            survived += outcome.test is None
            _say(f"{number}/{len(mutants)} {_described(mutant, outcome)}")
            rows.append(_row(number, mutant, outcome))
    _say(f"{len(mutants) - survived} of {len(mutants)} mutants were noticed by a test")
    if chosen.markdown:
        chosen.markdown.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return int(survived > 0)


def choose(targets: Sequence[str], count: int, seed: int) -> list[Mutant]:
    """Return `count` mutants at different places, in the order of files and lines."""
    files: list[Path] = []
    for target in targets:
        path = ROOT / target
        files += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    places: dict[tuple[str, int, int], list[Mutant]] = {}
    for path in files:
        for mutant in mutants_of(path.read_bytes(), path.relative_to(ROOT).as_posix()):
            places.setdefault((mutant.file, mutant.begin, mutant.end), []).append(mutant)
    draw = random.Random(seed)
    drawn = draw.sample(sorted(places), min(count, len(places)))
    return sorted(draw.choice(places[place]) for place in drawn)


def mutants_of(source: bytes, file: str) -> Iterator[Mutant]:
    """Yield every mutant of a module."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for node in _code(ast.parse(source)):
        begin = starts[node.lineno - 1] + node.col_offset
        end = starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
        for kind, text in _changes(node):
            yield Mutant(file, node.lineno, kind, begin, end, text, source)


def _code(node: ast.AST) -> Iterator[ast.expr | ast.stmt]:
    """Yield the expressions and statements that run: no annotations, docstrings or decorators."""
    for name, value in ast.iter_fields(node):
        if name in _INERT_FIELDS and not isinstance(node, ast.Call):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or _is_inert(child):
                continue
            if isinstance(child, ast.expr | ast.stmt):
                yield child
            yield from _code(child)


def _is_inert(node: ast.AST) -> bool:
    """Whether a node is a text, a type or an import: changes there say nothing about tests."""
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name):
        return node.test.id == "TYPE_CHECKING"
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        return node.value.id in ("Annotated", "Literal", "Callable", "dict", "list", "tuple")
    return isinstance(node, ast.JoinedStr | ast.Import | ast.ImportFrom | ast.Raise)


def _changes(node: ast.expr | ast.stmt) -> Iterator[tuple[str, str]]:
    """Yield (kind, new text) for each way to break one node."""
    yield from _changed_operation(node)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "negation", _text(node.operand)
    elif isinstance(node, ast.IfExp):
        yield "negation", _text(ast.IfExp(_negated(node.test), node.body, node.orelse))
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield "constant", str(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield "constant", repr(node.value + 1)
        yield "constant", repr(node.value - 1)
    elif isinstance(node, ast.Call) and len(node.args) > 1:
        if not any(isinstance(argument, ast.Starred) for argument in node.args):
            swapped = [node.args[1], node.args[0], *node.args[2:]]
            yield "arguments", ast.unparse(ast.Call(node.func, swapped, node.keywords))
    elif isinstance(node, ast.Return) and node.value is not None:
        if ast.unparse(node.value) != "None":
            yield "return None", "return None"
    elif isinstance(node, ast.AugAssign | ast.Continue | ast.Break | ast.Delete) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ):
        yield "removed", "pass"


def _changed_operation(node: ast.expr | ast.stmt) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Compare):
        other = _OPERATORS[type(node.ops[0])]()
        yield "comparison", _text(ast.Compare(node.left, [other, *node.ops[1:]], node.comparators))
    elif isinstance(node, ast.BoolOp):
        yield "and/or", _text(ast.BoolOp(_OPERATORS[type(node.op)](), node.values))
    elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS and not _is_text(node):
        yield "arithmetic", _text(ast.BinOp(node.left, _OPERATORS[type(node.op)](), node.right))


def _negated(test: ast.expr) -> ast.expr:
    return ast.UnaryOp(ast.Not(), test)


def _text(node: ast.expr) -> str:
    return f"({ast.unparse(node)})"


def _is_text(node: ast.BinOp) -> bool:
    """Whether an operation formats or joins texts, or names a type: "a" + b, int | None."""
    sides = (node.left, node.right)
    if any(isinstance(s, ast.JoinedStr) or _is_str(s) for s in sides):
        return True
    return isinstance(node.op, ast.BitOr) and any(
        isinstance(s, ast.Constant) and s.value is None for s in sides
    )


def _is_str(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


class Copy:
    """A copy of the project, and a process that runs pytest in it. Use it as a context."""

    def __enter__(self) -> Copy:
        """Copy what git knows of, as it stands in the working tree."""
        self.folder = Path(tempfile.mkdtemp(prefix="mutants-"))
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file():
                target = self.folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, target)
        # Compiled once for all mutants; Python compares hashes, so that a mutant is read anew.
        mode = PycInvalidationMode.CHECKED_HASH
        compileall.compile_dir(self.folder, quiet=1, invalidation_mode=mode)
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(self.folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "SRLM_SHARED": os.environ.get("SRLM_SHARED", str(ROOT.parent / "shared")),
        }
        self._warm = WarmPytest(self._environment)
        return self

    def __exit__(self, *error: object) -> None:
        """End the process and remove the copy."""
        self._warm.close()
        shutil.rmtree(self.folder)

    def test(self, mutant: Mutant, *, quick: bool) -> Outcome:
        """Return which test notices a mutant."""
        began = time.monotonic()
        path = self.folder / mutant.file
        path.write_bytes(mutated(mutant))
        try:
            found = self._first_failure(mutant.file, quick=quick)
        finally:
            path.write_bytes(mutant.source)
        if found is not None and not self._passes(found):
            sys.exit(f"{found} fails without a mutant too: repair it first")
        return Outcome(found, time.monotonic() - began)

    def _first_failure(self, file: str, *, quick: bool) -> str | None:
        done: set[str] = set()
        for chosen in self._rounds(file):
            selected = [test for test in chosen if test not in done]
            done.update(selected)
            if selected and (found := self._run(selected)) is not None:
                return found
        return None if quick else self._run_all()

    def _rounds(self, file: str) -> Iterator[list[str]]:
        """Yield the test modules of a module, then those that import it or lie beside them."""
        path = Path(file)
        mirror = Path("tests") / path.parent / f"test_{path.stem}.py"
        yield [mirror.as_posix()] if (self.folder / mirror).is_file() else []
        module = ".".join(path.with_suffix("").parts)
        package, _, name = module.rpartition(".")
        imports = re.compile(
            rf"{re.escape(module)}\b|from {re.escape(package)} import [^\n]*\b{name}\b"
        )
        tests = sorted((self.folder / "tests").rglob("test_*.py"))
        yield [self._name(t) for t in tests if imports.search(t.read_text(encoding="utf-8"))]
        beside = self.folder / "tests" / path.parent
        yield [self._name(test) for test in tests if test.is_relative_to(beside)]

    def _name(self, test: Path) -> str:
        return test.relative_to(self.folder).as_posix()

    def _run(self, tests: Sequence[str]) -> str | None:
        options = ("-x", "-q", "-m", "not slow", f"--timeout={_TEST_TIMEOUT_S}")
        output = self.folder / "pytest.out"
        code, printed = self._warm.run(
            self.folder, *options, "-p", "no:cacheprovider", *tests, output=output
        )
        return _failed(code, printed, tests[0])

    def _run_all(self) -> str | None:
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "2", "--dist", "loadfile"]
        done = subprocess.run(  # noqa: S603 - our own tests
            [*command, "-m", "not slow", f"--timeout={_TEST_TIMEOUT_S}"],
            cwd=self.folder, env=self._environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return _failed(done.returncode, done.stdout, "make test")

    def _passes(self, test: str) -> bool:
        return test == "make test" or self._run([test]) is None


def _failed(code: int, printed: str, otherwise: str) -> str | None:
    """Return the first failed test, `otherwise` if the failure names none, None if all passed."""
    if code in (0, 5):  # 5: no test was selected
        return None
    found = re.search(r"^(?:FAILED|ERROR) (\S+?::\w+|\S+)", printed, re.MULTILINE)
    return found[1] if found else otherwise


def mutated(mutant: Mutant) -> bytes:
    """Return a module's source with the change made."""
    return mutant.source[: mutant.begin] + mutant.text.encode() + mutant.source[mutant.end :]


def _described(mutant: Mutant, outcome: Outcome) -> str:
    place = f"{mutant.file}:{mutant.line} {mutant.kind}"
    if outcome.test is not None:
        return f"noticed  {place}  by {outcome.test} ({outcome.seconds:.0f} s)"
    before, after = (t.decode().splitlines() for t in (mutant.source, mutated(mutant)))
    diff = difflib.unified_diff(before, after, mutant.file, mutant.file, n=2, lineterm="")
    return f"SURVIVED {place} ({outcome.seconds:.0f} s)\n" + "\n".join(diff)


_TABLE_HEAD = "| # | Place | Kind | Before → after | Noticed by |\n|--|--|--|--|--|"


def _row(number: int, mutant: Mutant, outcome: Outcome) -> str:
    before = " ".join(mutant.source[mutant.begin : mutant.end].decode().split())
    change = " → ".join(f"`{text.replace('|', chr(92) + '|')}`" for text in (before, mutant.text))
    noticed = "**survived**"
    if outcome.test is not None:
        noticed = f"`{outcome.test.partition('::')[2].partition('[')[0] or outcome.test}`"
    return f"| {number} | {mutant.file}:{mutant.line} | {mutant.kind} | {change} | {noticed} |"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
