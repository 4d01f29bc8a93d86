"""The engine protocol: two calls that everything else goes through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, runtime_checkable

from core.hashing import sha256_json, sha256_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from core.records import Message

Finish = Literal["stop", "length", "too_long"]


@dataclass(frozen=True, slots=True)
class Decoding:
    """How to sample. Temperature 0 is greedy; `top_p` is the nucleus mass in (0, 1]."""

    temperature: float
    top_p: float
    max_new_tokens: int
    seed: int


@dataclass(frozen=True, slots=True)
class Request:
    """A conversation to continue, and which of its draws are wanted.

    `key` names the request in the reply. `draws` are indices, not a count, so that a resumed stage
    can ask for exactly the draws it lacks; all of them share one prefill.
    """

    key: str
    messages: Sequence[Message]
    draws: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True)
class Sampled:
    """One finished draw.

    `text` is the new text only, without the end-of-turn token; `tokens` counts what was generated.
    `finish` is "stop" (end of turn), "length" (`max_new_tokens` or the context window is used up)
    or "too_long": the prompt leaves no room for `max_new_tokens`, nothing was sampled.
    """

    key: str
    draw: int
    text: str
    tokens: int
    finish: Finish


@dataclass(frozen=True, slots=True)
class Continuation:
    """A text whose probability is wanted after a context; both are raw text, no chat template."""

    context: str
    continuation: str


class Logprob(NamedTuple):
    """Sum of the continuation tokens' log-probabilities (natural log), and how many there are.

    `greedy` says whether each token was the most probable one at its place.
    """

    total: float
    tokens: int
    greedy: bool


@runtime_checkable
class Engine(Protocol):
    """A language model that samples and scores."""

    @property
    def fingerprint(self) -> str:
        """Weights, tokenizer, engine and dtype in one string: the cache key of what it says."""
        ...

    def sample(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Sampled]:
        """Yield each wanted draw once, as it finishes, in no particular order.

        A draw depends on (weights, decoding, messages, draw index) alone: not on the other
        requests, as far as floating-point arithmetic allows (see the engine's own docstring).
        """
        ...

    def score(self, requests: Sequence[Continuation]) -> list[Logprob]:
        """Return one result per request, in order."""
        ...


def draw_seed(decoding: Decoding, messages: Sequence[Message], draw: int) -> int:
    """Return the 128-bit seed of one draw: a hash of the seed, the conversation and the index."""
    plain = [[m["role"], m["content"]] for m in messages]
    return int(sha256_text(f"{decoding.seed}/{sha256_json(plain)}/{draw}")[:32], 16)
