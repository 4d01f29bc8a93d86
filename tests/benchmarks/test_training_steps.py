"""Both sides of the training rows do the same: every step has the loss of TRL's own trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.training_steps import dpo_sides, sft_sides
from core.config import DpoSection, SftSection
from tests.training.together import PAIRS, ROWS

SETTINGS: dict[str, Any] = {
    "batch_size": 4,
    "micro_batch_size": 4,
    "dropout": 0.0,
    "precision": "fp32",
    "max_length": 256,
    "lr_min": 0.0,
}


@pytest.mark.filterwarnings("ignore")  # TRL's own
def test_sft_has_the_losses_of_trls_trainer(tiny: Path) -> None:
    sides = sft_sides(tiny, ROWS, SftSection(lr=1e-2, **SETTINGS))
    # Eleven rows of different lengths, four at a time: three steps.
    ours, theirs = sides.ours(11), sides.theirs(11)
    assert len(ours) == 3
    assert ours == pytest.approx(theirs, abs=1e-4)
    assert ours[2] < ours[0] - 0.5  # it moves


@pytest.mark.filterwarnings("ignore")  # TRL's own
def test_dpo_has_the_losses_of_trls_trainer(tiny: Path) -> None:
    section = DpoSection(lr=1e-3, schedule="linear", **SETTINGS)
    sides = dpo_sides(tiny, PAIRS, section)
    ours, theirs = sides.ours(11), sides.theirs(11)
    assert len(ours) == 3
    assert ours == pytest.approx(theirs, abs=1e-4)
    assert abs(ours[2] - ours[0]) > 0.01  # it moves
