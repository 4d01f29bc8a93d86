from __future__ import annotations

import pytest

from core.config import PairsSection
from core.paired import compare
from core.sweep import load_sweep
from tools.prove import SWEEP, VARIANTS, Outcome, failures


def run(name: str, gained: int, lost: int) -> Outcome:
    """A run whose last model follows `gained` prompts that M1 did not, and `lost` the reverse."""
    last = {str(n): 100.0 * (n < gained) for n in range(100)}
    first = {str(n): 100.0 * (gained <= n < gained + lost) for n in range(100)}
    return Outcome(name, {}, compare(last, first, scale=(0.0, 100.0), seed=0))


GAIN, NOTHING, FALL = run("run", 30, 5), run("shuffled", 10, 10), run("swapped", 5, 30)


def test_a_gain_that_only_the_judges_own_order_gives_is_shown() -> None:
    assert failures(GAIN, NOTHING, FALL) == []


@pytest.mark.parametrize(
    ("outcomes", "problem"),
    [
        ((run("run", 12, 5), NOTHING, FALL), "does not beat M1 (p = 0.1435)"),
        ((GAIN, run("shuffled", 30, 5), FALL), "with shuffled scores the last model beats M1"),
        ((GAIN, NOTHING, run("swapped", 6, 5)), "the last model does not fall"),
    ],
)
def test_what_is_not_shown_is_named(
    outcomes: tuple[Outcome, Outcome, Outcome], problem: str
) -> None:
    (found,) = failures(*outcomes)
    assert problem in found


def test_a_shuffled_control_that_falls_is_no_problem() -> None:
    assert failures(GAIN, run("shuffled", 5, 30), FALL) == []


def test_the_three_runs_differ_in_the_control_alone() -> None:
    sweep = load_sweep(SWEEP)
    assert [run.variant for run in sweep.runs] == [*VARIANTS]
    assert [run.config.pairs.control for run in sweep.runs] == ["none", "shuffled", "swapped"]
    same = {"run": "x", "pairs": PairsSection()}
    assert len({repr(run.config.model_copy(update=same)) for run in sweep.runs}) == 1
