"""Which changes count as mutants, and that each is a change of what runs."""

from __future__ import annotations

import ast

from tests.tools import script

mutate = script("mutate")


def changes(source: str) -> set[str]:
    """Return the mutated lines of a one-line module."""
    mutants = mutate.mutants_of(source.encode(), "module.py")
    return {mutate.mutated(mutant).decode() for mutant in mutants}


def test_each_operator_is_replaced_by_another() -> None:
    assert changes("x = a < b") == {"x = (a <= b)"}
    assert changes("x = a + b") == {"x = (a - b)"}
    assert changes("x = a and b") == {"x = (a or b)"}
    assert changes("x = not a") == {"x = (a)"}


def test_constants_move_by_one_and_booleans_turn_over() -> None:
    assert changes("x = 3") == {"x = 4", "x = 2"}
    assert changes("x = True") == {"x = False"}


def test_arguments_change_places_and_statements_go() -> None:
    assert changes("f(a, b)") == {"f(b, a)", "pass"}
    assert changes("x += y") == {"pass"}


def test_a_result_becomes_none() -> None:
    assert "def f():\n    return None" in changes("def f():\n    return g()")


def test_texts_types_and_imports_are_left_alone() -> None:
    for source in (
        '"""A docstring."""',
        "import os",
        "x: Literal[1, 2] = y",
        'x = "a" + b',
        "raise ValueError(3)",
        "@lru_cache(maxsize=1)\ndef f(a: int | None = x) -> int | str: ...",
        "if TYPE_CHECKING:\n    x = 1",
    ):
        assert changes(source) == set(), source


def test_a_seed_gives_the_same_mutants_and_each_is_python() -> None:
    drawn = mutate.choose(["core/intervals.py"], 12, seed=1)
    assert drawn == mutate.choose(["core/intervals.py"], 12, seed=1)
    assert len({(m.begin, m.end) for m in drawn}) == 12
    for mutant in drawn:
        before, after = (ast.parse(text) for text in (mutant.source, mutate.mutated(mutant)))
        assert ast.dump(after) != ast.dump(before)
