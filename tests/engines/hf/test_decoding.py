"""The decoding loop over states that are scripted: who enters when, and who leaves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from core.records import user
from engines.engine import Decoding, Request, Sampled
from engines.hf.decoding import Batch, Limits, Prompt
from engines.models import load_tokenizer

END, WORD = 3, 40


class Scripted:
    """States in which the row of prompt [n, ...] says n - 1 words and ends its turn."""

    def __init__(self, *, joins: bool = True) -> None:
        self.joins = joins
        self.pads = True
        self.left: list[int] = []
        self.log: list[str] = []

    def admit(self, prompts: Sequence[list[int]], draws: Sequence[int]) -> torch.Tensor:
        fresh = [p[0] for p, n in zip(prompts, draws, strict=True) for _ in range(n)]
        self.left += fresh
        self.log.append(f"+{len(fresh)}")
        return self._logits(fresh)

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        assert len(tokens) == len(self.left)
        self.left = [left - 1 for left in self.left]
        self.log.append(str(len(self.left)))
        return self._logits(self.left)

    def keep(self, rows: Sequence[int]) -> None:
        self.log.append(f"-{len(self.left) - len(rows)}")
        self.left = [self.left[at] for at in rows]

    def _logits(self, left: list[int]) -> torch.Tensor:
        logits = torch.zeros(len(left), 50)
        logits[:, WORD] = 1.0
        logits[[at for at, n in enumerate(left) if n == 1], END] = 2.0
        return logits


def decode(
    tiny: Path, states: Any, lengths: Sequence[int], limits: Limits, *, new: int = 30
) -> list[Sampled]:
    """One greedy draw per prompt; prompt i says lengths[i] tokens, its end of turn included."""
    batch = Batch(
        states,
        Decoding(0.0, 1.0, new, seed=0),
        limits,
        tokenizer=load_tokenizer(tiny),
        stop=frozenset({END}),
    )
    prompts = [
        Prompt([length, 0, 0], Request(f"p{at}", user(str(at))), (0,))
        for at, length in enumerate(lengths)
    ]
    return list(batch.run(prompts))


ROOMY = Limits(rows=8, tokens=10_000, shared=0)


def test_every_draw_ends_where_its_turn_ends(tiny: Path) -> None:
    out = decode(tiny, Scripted(), [4, 1, 9], ROOMY)
    assert {s.key: (s.tokens, s.finish) for s in out} == {
        "p0": (4, "stop"), "p1": (1, "stop"), "p2": (9, "stop"),
    }  # fmt: skip
    assert [s.key for s in out] == ["p1", "p0", "p2"]  # as they end


def test_a_draw_that_does_not_end_is_cut(tiny: Path) -> None:
    (out,) = decode(tiny, Scripted(), [99], ROOMY, new=5)
    assert (out.tokens, out.finish) == (5, "length")


def test_waiting_draws_take_the_places_of_those_that_ended(tiny: Path) -> None:
    states = Scripted()
    out = decode(tiny, states, [2, 9, 3, 2], Limits(rows=2, tokens=10_000, shared=0))
    assert len(out) == 4
    # p0 ends after two tokens, p2 enters beside p1; p2 ends after three more, p3 enters.
    assert states.log == [
        "+2", "2", "-1", "1", "+1", "2", "2", "-1", "1", "+1", "2", "-1", "1", "1", "-1",
    ]  # fmt: skip


def test_nobody_enters_a_batch_that_cannot_be_joined(tiny: Path) -> None:
    states = Scripted(joins=False)
    decode(tiny, states, [2, 4, 2], Limits(rows=2, tokens=10_000, shared=0))
    assert states.log == ["+2", "2", "-1", "1", "1", "-1", "+1", "1", "-1"]


@pytest.mark.parametrize(
    ("tokens", "entering"),
    [
        # Three prompt tokens a row and 30 to come: two rows are 66 tokens, three are 99.
        (99, "+3"),
        (98, "+2"),
        (65, "+1"),
        (1, "+1"),  # one always enters
    ],
)
def test_a_batch_holds_no_more_tokens_than_allowed(tiny: Path, tokens: int, entering: str) -> None:
    states = Scripted()
    decode(tiny, states, [5, 5, 5], Limits(rows=8, tokens=tokens, shared=0))
    assert states.log[0] == entering


def test_shared_tokens_are_held_once(tiny: Path) -> None:
    # Two of three prompt tokens are shared: 2 + 3·1 + 3·30 = 95.
    for tokens, entering in ((95, "+3"), (94, "+2")):
        states = Scripted()
        decode(tiny, states, [5, 5, 5], Limits(rows=8, tokens=tokens, shared=2))
        assert states.log[0] == entering


def test_few_ended_rows_stay_until_an_eighth_has_ended(tiny: Path) -> None:
    states = Scripted()
    decode(tiny, states, [2, 3] + [6] * 18, Limits(rows=20, tokens=10_000, shared=0))
    # Of 20 rows, one has ended (5 %), then two (10 %), then all.
    assert states.log == ["+20", "20", "20", "20", "20", "20", "-20"]
