"""An engine whose words come from a function: for testing logic without a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from core.records import Message
from engines.draws import cut_at_stop
from engines.engine import Logprob, Sampled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engines.engine import Continuation, Decoding, Request

Reply: TypeAlias = Callable[[Sequence[Message], int], str | None]


class ScriptedEngine:
    """Answers with `reply(messages, draw)`; a reply of None plays a prompt that is too long.

    A raw prompt reaches the script as one message of the role "text".

    `calls` counts the draws handed out, so a test can show that nothing was asked twice.
    """

    def __init__(
        self,
        reply: Reply,
        *,
        score: Callable[[Continuation], Logprob] | None = None,
        name: str = "scripted",
    ) -> None:
        """Keep the script; `score` answers the other call."""
        self._reply, self._score = reply, score
        self.fingerprint = name
        self.calls: list[tuple[str, int]] = []

    def sample(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Sampled]:
        """Yield the scripted replies in order of request and draw."""
        for request in requests:
            messages = request.messages
            if isinstance(messages, str):
                messages = [{"role": "text", "content": messages}]
            for draw in request.draws:
                self.calls.append((request.key, draw))
                text = self._reply(messages, draw)
                if text is None:
                    yield Sampled(request.key, draw, "", 0, "too_long")
                    continue
                text, _ = cut_at_stop(text, decoding.stop)
                words = text.split()
                cut = len(words) > decoding.max_new_tokens
                shown = " ".join(words[: decoding.max_new_tokens]) if cut else text
                tokens = min(len(words), decoding.max_new_tokens)
                yield Sampled(request.key, draw, shown, tokens, "length" if cut else "stop")

    def score(self, requests: Sequence[Continuation]) -> list[Logprob]:
        """Return the scripted log-probabilities."""
        if self._score is None:
            raise NotImplementedError("this script has no scores")
        return [self._score(request) for request in requests]
