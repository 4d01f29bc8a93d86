from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from engines.hf.attention import SEGMENTED
from engines.hf.layers import Layers
from engines.hf.shared_states import SharedStates
from engines.hf.stock_states import StockStates
from engines.models import load_model


@pytest.fixture(scope="module")
def model(tiny: Path) -> Any:
    return load_model(tiny, torch.float32, attn_implementation=SEGMENTED)


@pytest.fixture(autouse=True)
def memory_that_was_not_set_is_nan() -> Iterator[None]:
    """Whoever reads what was never written shall notice."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def tokens(length: int, seed: int) -> list[int]:
    return random.Random(seed).choices(range(5, 250), k=length)


class Batch:
    """Rows under decoding, and what each has read, for a direct computation."""

    def __init__(self, model: Any, states: SharedStates | StockStates) -> None:
        self.model, self.states = model, states
        self.rows: list[list[int]] = []

    def admit(self, prompts: list[list[int]], draws: list[int]) -> None:
        self.check(self.states.admit(prompts, draws), prompts, draws)

    def check(self, logits: torch.Tensor, prompts: list[list[int]], draws: list[int]) -> None:
        fresh = [list(p) for p, n in zip(prompts, draws, strict=True) for _ in range(n)]
        self.same(logits, fresh)
        self.rows += fresh

    def same(self, logits: torch.Tensor, rows: list[list[int]]) -> None:
        assert len(logits) == len(rows)
        for found, row in zip(logits, rows, strict=True):
            expected = self.model(torch.tensor([row])).logits[0, -1]
            assert torch.allclose(found, expected, atol=1e-5)

    def step(self, seed: int) -> None:
        fresh = tokens(len(self.rows), seed)
        for row, token in zip(self.rows, fresh, strict=True):
            row.append(token)
        self.same(self.states.step(torch.tensor(fresh)), self.rows)

    def keep(self, kept: list[int]) -> None:
        self.states.keep(kept)
        self.rows = [self.rows[at] for at in kept]


@pytest.mark.parametrize("shared", [0, 1, 70])
@pytest.mark.parametrize("written_out", [False, True])
@torch.inference_mode()
def test_rows_that_come_and_go_are_each_computed_as_if_alone(
    model: Any, shared: int, *, written_out: bool
) -> None:
    prefix = tokens(shared, 99)
    layers = Layers(model) if written_out else None
    batch = Batch(model, SharedStates(model, prefix, layers=layers))
    batch.admit([prefix + tokens(n, n) for n in (9, 4, 4)], [3, 1, 2])
    batch.step(1)
    batch.step(2)
    batch.keep([0, 2, 4, 5])  # the second prompt has no row left, the first has lost one
    batch.step(3)
    batch.admit([prefix + tokens(n, n) for n in (15, 2)], [1, 2])  # longer and shorter ones join
    batch.step(4)
    batch.keep([1, 2, 5])
    for seed in range(5, 80):  # beyond what was reserved
        batch.step(seed)
    batch.keep([])
    batch.admit([prefix + tokens(6, 6)], [1])
    batch.step(80)


@torch.inference_mode()
def test_a_model_that_cannot_share_computes_the_same(model: Any) -> None:
    batch = Batch(model, StockStates(model, pads=True))
    batch.admit([tokens(n, n) for n in (9, 4, 4)], [3, 1, 2])
    batch.step(1)
    batch.keep([0, 2, 4, 5])
    batch.step(2)
    batch.keep([])
    batch.rows = []
    batch.admit([tokens(6, 6)], [2])  # a new batch
    batch.step(3)
