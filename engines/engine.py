"""The engine protocol: sampling and scoring, the two calls that all model access goes through."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, runtime_checkable

from core.hashing import sha256_json, sha256_text
from core.thinking import answer_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from core.records import Message

Finish = Literal["stop", "length", "too_long"]


@dataclass(frozen=True, slots=True)
class Decoding:
    """How to sample. Temperature 0 is greedy; `top_p` is the nucleus mass in (0, 1].

    `max_new_tokens` are the most of an answer, the thought before it included, unless that has
    `max_thinking_tokens` of its own (0: none): engines set them (engines/draws.py `think_for`).
    `stop` lists strings that end a draw, like the end of turn; the text is cut before the first of
    them. `truncate`: a prompt too long for the context window is truncated on the left, as in
    lm-eval; otherwise its draws finish as "too_long".
    """

    temperature: float
    top_p: float
    max_new_tokens: int
    seed: int
    stop: tuple[str, ...] = ()
    truncate: bool = False
    max_thinking_tokens: int = 0

    @property
    def most_tokens(self) -> int:
        """The most tokens of a draw, thought and answer."""
        return self.max_thinking_tokens + self.max_new_tokens


@dataclass(frozen=True, slots=True)
class Request:
    """A conversation to continue, and which of its draws are wanted.

    `messages` as a string is raw text, continued without a chat template.
    `key` names the request in the reply. `draws` are indices, not a count, so that a resumed stage
    can ask for exactly the draws it lacks; all of them share one prefill. `temperature` overrides
    the decoding's for this request, so that one batch can mix temperatures.
    """

    key: str
    messages: Sequence[Message] | str
    draws: tuple[int, ...] = (0,)
    temperature: float | None = None


@dataclass(frozen=True, slots=True)
class Sampled:
    """One finished draw.

    `text` is the new text only, without the end-of-turn token; `tokens` counts what was generated.
    Where the prompt ends by opening a thought, `text` begins with that mark (core/thinking.py).
    `finish` is "stop" (end of turn or a stop string), "length" (`max_new_tokens` or the context
    window is used up) or "too_long": the prompt leaves no room for `max_new_tokens`, nothing was
    sampled.
    """

    key: str
    draw: int
    text: str
    tokens: int
    finish: Finish


class Answer(NamedTuple):
    """One finished draw without the thought before it; `finish` as of `core.records.Candidate`."""

    key: str
    draw: int
    text: str
    tokens: int
    finish: str
    thought: str


@dataclass(frozen=True, slots=True)
class Continuation:
    """A text to be scored after a context.

    A context that is a string is raw text, without a chat template, and the tokens are those of the
    whole text. A context that is a conversation is rendered with the chat template up to the start
    of the assistant's turn; the continuation, tokenised on its own, is the assistant's text.
    A context too long for the window is truncated on the left.

    `given` is the beginning of the assistant's turn, part of the context of a conversation. The
    tokens are then those of `given` and continuation as one text; requests that differ in the
    continuation only are scored from the first token in which any of them differ from `given`.
    """

    context: str | tuple[Message, ...]
    continuation: str
    given: str = ""


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
        """Weights, tokenizer, engine and dtype in one string: the key of its outputs."""

    def sample(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Sampled]:
        """Yield each wanted draw once, as it finishes, in no particular order.

        A draw depends on (weights, decoding, messages, draw index) alone: not on the other
        requests, as far as floating-point arithmetic allows (see the engine's own docstring).
        """

    def score(self, requests: Sequence[Continuation]) -> list[Logprob]:
        """Return one result per request, in order."""


def sample_answers(
    engine: Engine, requests: Sequence[Request], decoding: Decoding
) -> Iterator[Answer]:
    """Yield draws as `Engine.sample` does, each with its thought apart from its answer.

    A thought that the token limit cut leaves no answer ("cut_off"); one that the model did not end
    by itself leaves an empty one.
    """
    for draw in engine.sample(requests, decoding):
        said = answer_of(draw.text)
        finish = "cut_off" if said.unclosed and draw.finish == "length" else draw.finish
        yield Answer(draw.key, draw.draw, said.text, draw.tokens, finish, said.thought)


def plain_prompt(messages: Sequence[Message] | str) -> str | list[list[str]]:
    """Return a prompt as a JSON value: its text, or [role, content] pairs."""
    return messages if isinstance(messages, str) else [[m["role"], m["content"]] for m in messages]


def decoding_of(request: Request, decoding: Decoding) -> Decoding:
    """Return the decoding of a request: with its own temperature if it has one."""
    if request.temperature is None:
        return decoding
    return replace(decoding, temperature=request.temperature)


def draw_seed(decoding: Decoding, messages: Sequence[Message] | str, draw: int) -> int:
    """Return the 128-bit seed of one draw: a hash of the seed, the prompt and the index."""
    plain = plain_prompt(messages)
    return int(sha256_text(f"{decoding.seed}/{sha256_json(plain)}/{draw}")[:32], 16)
