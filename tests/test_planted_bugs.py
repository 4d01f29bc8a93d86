"""Bugs that others have shipped, planted one at a time: the test named must fail each time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import engines  # noqa: F401 - what it sets in the environment goes to the waiting process
import tests.planted_bugs  # noqa: F401 - registers the plants
from tests.conftest import ROOT
from tests.planting import PLANTS, Plant, module_of, node_of
from tests.warm_pytest import WarmPytest


@pytest.fixture(scope="module")
def warm() -> Iterator[WarmPytest]:
    """A process that runs pytest without importing torch anew each time."""
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("COVERAGE_", "PYTEST_"))
    }
    environment |= {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    process = WarmPytest(environment)
    yield process
    process.close()


def run_test(warm: WarmPytest, output: Path, plant: Plant, *arguments: str) -> tuple[int, str]:
    options = ("-x", "-q", "-p", "no:cacheprovider", "-p", "tests.planting")
    return warm.run(ROOT, *options, *arguments, node_of(plant.noticed_by), output=output)


@pytest.mark.parametrize("plant", PLANTS.values(), ids=PLANTS)
def test_a_plant_names_a_function_and_a_test_that_exist(plant: Plant) -> None:
    assert module_of(plant.function) == plant.function.partition(":")[0]
    assert node_of(plant.noticed_by)


@pytest.mark.slow
@pytest.mark.parametrize("plant", PLANTS.values(), ids=PLANTS)
def test_a_planted_bug_makes_its_test_fail(plant: Plant, warm: WarmPytest, tmp_path: Path) -> None:
    code, printed = run_test(warm, tmp_path / "pytest.out", plant, "--plant", plant.bug)
    if code == 0 and " skipped" in printed and " passed" not in printed:
        pytest.skip(f"{plant.noticed_by} was skipped: it needs the shared data")
    # 1: tests ran and one failed. Anything else (0: not noticed; 2: did not even import) is wrong.
    assert code == 1, printed[-2000:]
    assert " failed" in printed


@pytest.mark.slow
def test_without_its_bug_a_test_passes(warm: WarmPytest, tmp_path: Path) -> None:
    """The others do so in their own modules; this one shows that planting alone fails nothing."""
    plant = PLANTS["the_first_score_counts_not_the_last"]
    code, printed = run_test(warm, tmp_path / "pytest.out", plant)
    assert code == 0, printed[-2000:]
    assert " passed" in printed
