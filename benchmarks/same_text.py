"""Whether two sides generate the same text with greedy decoding."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.workloads import Dtype

# A logit is off by some 1e-5 in float32, and rounded to 0.125 in bfloat16 at its usual size (16 to
# 32): two tokens this close may come out either way.
TIES = {"float32": 1e-3, "bfloat16": 0.5}


class Peer(Protocol):
    """A model that decodes token ids and measures the margin of the next token."""

    def decode(self, ids: list[int]) -> str:
        """Return the text of new tokens."""
        ...

    def gap(self, prompt: list[int], said: list[int]) -> float:
        """Return the difference between the two largest next-token logits."""
        ...


class Differences(NamedTuple):
    """How greedy texts compare: the same; parted at a tie; parted where there was no tie.

    `largest_gap` is the largest difference of logits at which two texts parted, 0 if none did.
    """

    equal_rows: int
    tied_rows: int
    different_rows: int
    largest_gap: float

    @property
    def equal(self) -> bool:
        """Whether no row differs by more than rounding explains."""
        return self.different_rows == 0


def compare_texts(
    peer: Peer,
    prompts: Sequence[list[int]],
    ours: Sequence[str],
    theirs: Sequence[list[int]],
    *,
    dtype: Dtype = "float32",
) -> Differences:
    """Compare our texts with the peer's tokens, row by row; both sides' arithmetic is `dtype`."""
    equal, gaps = 0, []
    for prompt, text, ids in zip(prompts, ours, theirs, strict=True):
        if text == peer.decode(ids):
            equal += 1
        else:
            gaps.append(peer.gap(prompt, ids[: _parting(peer, text, ids)]))
    tied = sum(gap < TIES[dtype] for gap in gaps)
    return Differences(equal, tied, len(gaps) - tied, max(gaps, default=0.0))


def _parting(peer: Peer, text: str, ids: list[int]) -> int:
    """Return how many of the ids' texts agree with `text`; the next one does not.

    A token that ends within a character reads as U+FFFD until the rest has come.
    """
    for count in range(1, len(ids) + 1):
        if not text.startswith(peer.decode(ids[:count]).rstrip("\ufffd")):
            return count - 1
    return len(ids) - 1
