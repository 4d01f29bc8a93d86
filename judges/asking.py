"""Requests to a judge, its replies, and the protocol that every judge implements.

A judge is an OpenAI-compatible server, a local engine, or a recording of either. A reply holds text
or the reason why there is none; scores and verdicts are parsed from the text elsewhere
(judges/replies.py).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from core.errors import JudgeFailed
from core.thinking import after_thought

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from core.records import Message
    from judges.distribution import Form

ReplyFinish = Literal["stop", "length", "too_long", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class Ask:
    """One request to a judge.

    `key` identifies it within one call and is not part of its identity; `draw` is: two draws of one
    conversation are two requests. `weigh` lists single tokens whose probabilities as the reply's
    first token are wanted ("m", "M"); an API returns its `top_logprobs` most probable tokens
    instead. `least_tokens` (evaluation.judge.min_reply_tokens) raises the limit of a reply in
    words; it is no part of the identity: a reply that ended by itself is the same with any limit.
    `form`: the probabilities of its verdicts are wanted besides the words (judges/distribution.py).
    `lead`: the words behind which a local judge weighs the tokens; an API weighs its first token.
    """

    key: str
    messages: tuple[Message, ...]
    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    draw: int = 0
    weigh: tuple[str, ...] = ()
    top_logprobs: int = 0
    least_tokens: int = 0
    form: Form | None = None
    lead: str = ""

    @property
    def limit(self) -> int:
        """The tokens that a reply may have."""
        return self.max_new_tokens if self.weigh else max(self.max_new_tokens, self.least_tokens)

    def identity(self, judge: str) -> dict[str, Any]:
        """Return everything that determines the reply, as a JSON value: the cassette's key."""
        found = {
            "judge": judge,
            "messages": [[m["role"], m["content"]] for m in self.messages],
            "max_new_tokens": self.max_new_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "draw": self.draw,
            "weigh": list(self.weigh),
            "top_logprobs": self.top_logprobs,
        }
        later = {"form": self.form and self.form.name, "lead": self.lead}
        return found | {name: value for name, value in later.items() if value}


@dataclass(frozen=True, slots=True)
class Reply:
    """A judge's reply to one request.

    `finish`: "stop"; "length" (cut by the token limit); "too_long" (the prompt does not fit the
    context window); "refused" (a content filter or the model's refusal field); "failed" (no answer
    after all retries: `failure` says why; never recorded, so that it is asked again).
    `tokens_in` and `tokens_out` are the server's counts, retried malformed replies included: what
    is billed. `logprobs` has the OpenAI form:
    {"content": [{"token", "logprob", "top_logprobs": [...]}]}.
    `model` is the model name that the server reports. `limit`: the tokens that the reply was
    allowed (0: the request's own limit). `adapted`: what was changed in the request because the
    server refuses it (engines/remote/dialects.py).
    `thought` is what a thinking model wrote before its reply, where the server sends it apart
    (`reasoning_content`): kept, never parsed.
    """

    key: str
    text: str
    finish: ReplyFinish
    tokens_in: int = 0
    tokens_out: int = 0
    logprobs: dict[str, Any] | None = None
    model: str = ""
    failure: str | None = None
    seconds: float = 0.0
    thought: str = ""
    limit: int = 0
    adapted: dict[str, str | int] = field(default_factory=dict)

    @property
    def says_nothing(self) -> bool:
        """Whether the limit was reached before the first word, as by a model that thinks first."""
        return self.finish == "length" and not after_thought(self.text).text.strip()


class Judge(Protocol):
    """Interface of every judge: API model, local model or recorded replies."""

    @property
    def name(self) -> str:
        """The judge's name in tables and verdicts: "gpt-4-1106-preview", "M1"."""
        ...

    @property
    def identity(self) -> str:
        """What determines replies besides the request: model and server, or an engine's key."""
        ...

    def ask(self, asks: Sequence[Ask]) -> Iterator[Reply]:
        """Yield one reply per request as they arrive, in no particular order."""
        ...


def unique_keys(asks: Sequence[Ask]) -> None:
    """Check that the keys of one call's requests are unique.

    Raises:
        ValueError: two have the same key.
    """
    for key, count in Counter(ask.key for ask in asks).items():
        if count > 1:
            raise ValueError(f"two asks have the key {key!r}: keys must be unique in one call")


def settle_failures(failures: Sequence[Reply], total: int, *, allowed_share: float) -> None:
    """Accept failed requests up to `allowed_share` of `total`; more stop the stage.

    Raises:
        JudgeFailed: too many failed. Replies are kept, and the same command asks for the rest only.
    """
    if len(failures) <= allowed_share * total:
        return
    first = failures[0]
    message = (
        f"{len(failures)} of {total} judge requests failed after all retries (first: {first.key}: "
        f"{first.failure}). Received replies are kept: run the same command to ask for the "
        "rest, or accept missing rows with evaluation.judge.allowed_failures"
    )
    raise JudgeFailed(message)
