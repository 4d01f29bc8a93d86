"""A local model as the judge, through the engine protocol."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from core.hashing import sha256_json
from engines.engine import Continuation, Decoding, Engine, Request
from judges.asking import Ask, Reply, unique_keys
from judges.distribution import WEIGHED_AT_ONCE, Spoken, weigh_verdicts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class LocalJudge:
    """Judges with an engine; implements `judges.asking.Judge`.

    `name` is what tables call the judge ("M1"); `seed` decides the draws at temperatures above 0.
    `tokens_in` of its replies is 0: engines do not report it, and local models are free.
    """

    def __init__(self, engine: Engine, name: str, *, seed: int) -> None:
        self._engine, self._seed = engine, seed
        self.name = name

    @property
    def identity(self) -> str:
        """The engine's own key, with the seed of its draws."""
        return f"{self._engine.fingerprint}/seed {self._seed}"

    def ask(self, asks: Sequence[Ask]) -> Iterator[Reply]:
        """Yield one reply per request, in no particular order; none ever fails.

        Conversations that several draws share are prefilled once. Asks that `weigh` tokens are not
        sampled: the reply's text is the most probable of the tokens (the first of equal ones).

        Raises:
            ValueError: two asks have the same key.
        """
        unique_keys(asks)
        sampled: dict[Decoding, list[Ask]] = defaultdict(list)
        weighed = []
        for ask in asks:
            if ask.weigh:
                weighed.append(ask)
            else:
                how = Decoding(ask.temperature, ask.top_p, ask.limit, self._seed)
                sampled[how].append(ask)
        for decoding, group in sampled.items():
            yield from self._sample(decoding, group)
        for start in range(0, len(weighed), WEIGHED_AT_ONCE):
            yield from self._weigh(weighed[start : start + WEIGHED_AT_ONCE])

    def _sample(self, decoding: Decoding, asks: Sequence[Ask]) -> Iterator[Reply]:
        waiting = _by_conversation(asks)
        requests = [
            Request(key, next(iter(draws.values())).messages, tuple(draws))
            for key, draws in waiting.items()
        ]
        began, spoken = time.monotonic(), list[tuple[Ask, Reply]]()
        for sampled in self._engine.sample(requests, decoding):
            seconds, began = time.monotonic() - began, time.monotonic()
            ask = waiting[sampled.key][sampled.draw]
            reply = Reply(
                ask.key,
                sampled.text,
                sampled.finish,
                tokens_out=sampled.tokens,
                model=self.name,
                seconds=seconds,
            )
            if ask.form is None or reply.finish == "too_long":
                yield reply
                continue
            spoken.append((ask, reply))
            if len(spoken) == WEIGHED_AT_ONCE:
                yield from self._continued(spoken)
                spoken = []
        if spoken:
            yield from self._continued(spoken)

    def _continued(self, spoken: Sequence[tuple[Ask, Reply]]) -> Iterator[Reply]:
        """Add the probabilities of the verdicts behind each reply's words."""
        requests = [Spoken(ask.messages, reply.text, ask.form) for ask, reply in spoken if ask.form]
        for (_, reply), found in zip(spoken, weigh_verdicts(self._engine, requests), strict=True):
            yield replace(reply, text=found.text, logprobs=found.logprobs, finish="stop")

    def _weigh(self, asks: Sequence[Ask]) -> Iterator[Reply]:
        began = time.monotonic()
        wanted = [
            Continuation(ask.messages, token, ask.lead) for ask in asks for token in ask.weigh
        ]
        found = iter(self._engine.score(wanted))
        seconds = (time.monotonic() - began) / len(asks)
        for ask in asks:
            weights = [(token, next(found).total) for token in ask.weigh]
            weights.sort(key=lambda weight: -weight[1])  # stable: the first of equal ones wins
            top = [{"token": token, "logprob": logprob} for token, logprob in weights]
            yield Reply(
                ask.key,
                weights[0][0],
                "stop",
                tokens_out=1,
                logprobs={"content": [{**top[0], "top_logprobs": top}]},
                model=self.name,
                seconds=seconds,
            )


def _by_conversation(asks: Sequence[Ask]) -> dict[str, dict[int, Ask]]:
    """Group draws of one conversation under its first request's key, to share a prefill."""
    first: dict[str, str] = {}
    gathered: dict[str, dict[int, Ask]] = {}
    for ask in asks:
        key = first.setdefault(sha256_json(ask.messages), ask.key)
        if ask.draw in gathered.get(key, ()):  # the same draw twice, under two keys
            key = ask.key
        gathered.setdefault(key, {})[ask.draw] = ask
    return gathered
