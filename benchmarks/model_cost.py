"""Minimum arithmetic and memory traffic of sampling and scoring with a language model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.machine import Machine

_FLOAT32 = 4


class Shape(NamedTuple):
    """The parts of a Llama's shape that determine its cost."""

    layers: int
    hidden: int
    body: int  # parameters of the layers
    head: int  # parameters of the output matrix
    cached: int  # numbers in the key/value cache for each token

    @classmethod
    def of(cls, config: Any) -> Shape:
        """Read it from a transformers configuration."""
        per_head = config.head_dim
        queries = config.num_attention_heads * per_head
        keys = config.num_key_value_heads * per_head
        attention = config.hidden_size * (2 * queries + 2 * keys)
        layer = attention + 3 * config.hidden_size * config.intermediate_size
        return cls(
            layers=config.num_hidden_layers,
            hidden=queries,
            body=config.num_hidden_layers * layer,
            head=config.vocab_size * config.hidden_size,
            cached=2 * config.num_hidden_layers * keys,
        )


class Cost(NamedTuple):
    """Floating-point operations, and bytes read from memory."""

    flop: float
    bytes: float

    def shares(self, seconds: float, machine: Machine) -> dict[str, float]:
        """Return the shares of the machine's limits used when it takes `seconds` (0 to 1)."""
        return {
            "share_of_arithmetic": self.flop / seconds / (machine.gflops * 1e9),
            "share_of_memory": self.bytes / seconds / (machine.gbytes_s * 1e9),
        }


def sampling_cost(
    shape: Shape, prompts: Sequence[Sequence[int]], draws: int, new_tokens: int, rows: int
) -> Cost:
    """Return the least cost of `draws` of `new_tokens` each from every prompt.

    Each distinct prefix is computed once; `rows` are decoded together, so the weights are read once
    for each step of that many rows. The first token comes of the prompt's own pass.
    """
    cost = _tree_cost(shape, prompts, outputs=len(prompts))
    steps = -(-len(prompts) * draws // rows) * (new_tokens - 1)
    flop, moved = cost.flop, cost.bytes + steps * _FLOAT32 * (shape.body + shape.head)
    for prompt in prompts:
        for position in range(len(prompt), len(prompt) + new_tokens - 1):
            flop += draws * (2 * (shape.body + shape.head) + _attention(shape, position + 1))
            moved += draws * _FLOAT32 * shape.cached * position
    return Cost(flop, moved)


def scoring_cost(shape: Shape, pairs: Iterable[tuple[Sequence[int], Sequence[int]]]) -> Cost:
    """Return the least cost of scoring (context, target) pairs: each distinct prefix once.

    Logits are computed for every token of every target, though the first token's are the same for
    all targets of a context.
    """
    pairs = list(pairs)
    texts = [[*context, *target][:-1] for context, target in pairs]
    return _tree_cost(shape, texts, outputs=sum(len(target) for _, target in pairs))


def _tree_cost(shape: Shape, texts: Sequence[Sequence[int]], *, outputs: int) -> Cost:
    """Return the cost of one pass over the prefix tree of the texts, with `outputs` logits."""
    flop = 2.0 * shape.head * outputs
    before: Sequence[int] = ()
    for text in sorted(map(list, texts)):
        common = next(
            (at for at, (a, b) in enumerate(zip(before, text, strict=False)) if a != b),
            min(len(before), len(text)),
        )
        flop += 2.0 * shape.body * (len(text) - common)
        flop += sum(_attention(shape, position + 1) for position in range(common, len(text)))
        before = text
    return Cost(flop, _FLOAT32 * (shape.body + shape.head))


def _attention(shape: Shape, width: int) -> float:
    """Return the operations of one token's attention over `width` tokens: scores, then values."""
    return 4.0 * shape.layers * shape.hidden * width
