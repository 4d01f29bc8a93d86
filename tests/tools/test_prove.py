from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from core.paired import compare
from tools.prove import Outcome, failures, share

if TYPE_CHECKING:
    from pathlib import Path


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


def test_controls_share_all_but_the_pairs_and_the_model_of_iteration_2(tmp_path: Path) -> None:
    source = tmp_path / "run"
    for name in (
        "iter0/base/model.safetensors", "iter0/base.manifest.json", "iter1/model.manifest.json",
        "iter2/judgments.jsonl", "iter2/judgments.manifest.json", "iter2/pairs.jsonl",
        "iter2/pairs.manifest.json", "iter2/model/model.safetensors", "iter3/prompts.jsonl",
    ):  # fmt: skip
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x", encoding="utf-8")
    share(source, tmp_path / "control")
    share(source, tmp_path / "control")  # a second time nothing changes
    control = tmp_path / "control"
    assert sorted(str(p.relative_to(control)) for p in control.rglob("*") if p.is_file()) == [
        "iter0/base.manifest.json", "iter0/base/model.safetensors", "iter1/model.manifest.json",
        "iter2/judgments.jsonl", "iter2/judgments.manifest.json",
    ]  # fmt: skip
