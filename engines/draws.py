"""Draws as token ids: prompts that fit the window, stop strings, and reading what was generated."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from core.errors import ModelError
from core.thinking import SPECIAL, answer_of, is_closed
from engines.engine import Sampled, decoding_of, draw_seed
from engines.prompting import Pair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedTokenizerBase

    from engines.engine import Decoding, Finish, Request
    from engines.models import FolderFacts
    from engines.prompting import Prompter

_SEEDS = 2**63  # what vLLM and its server accept


class Draw(NamedTuple):
    """One draw to be sampled: request key and draw index, prompt tokens, decoding and seed.

    `opening`: the mark by which the prompt opens a thought, the beginning of the draw's text.
    """

    key: str
    number: int
    prompt: list[int]
    decoding: Decoding
    seed: int
    opening: str = ""


class Plan(NamedTuple):
    """The draws of each request that fits the window, and those of the others: "too_long"."""

    requests: list[list[Draw]]
    too_long: list[Sampled]


def fit_prompts(
    prompter: Prompter, requests: Sequence[Request], decoding: Decoding, window: int
) -> tuple[list[tuple[Request, list[int]]], list[Sampled]]:
    """Return requests with their prompts' tokens, and the draws of those that are "too_long".

    A prompt that leaves no room for the new tokens loses its beginning if the decoding says so.
    """
    fitting: list[tuple[Request, list[int]]] = []
    too_long: list[Sampled] = []
    room = window - decoding.most_tokens
    for request in requests:
        prompt = prompter.render(request.messages)
        if decoding.truncate and room > 0:
            prompt = prompt[-room:]
        if len(prompt) > room:
            too_long += [Sampled(request.key, draw, "", 0, "too_long") for draw in request.draws]
        else:
            fitting.append((request, prompt))
    return fitting, too_long


def plan_draws(
    prompter: Prompter, requests: Sequence[Request], decoding: Decoding, window: int
) -> Plan:
    """Render prompts and give every draw its own seed."""
    fitting, too_long = fit_prompts(prompter, requests, decoding, window)
    plan = Plan([], too_long)
    for request, prompt in fitting:
        own, opening = decoding_of(request, decoding), prompter.opening(prompt)
        draws = [
            Draw(request.key, d, prompt, own, draw_seed(own, request.messages, d) % _SEEDS, opening)
            for d in request.draws
        ]
        plan.requests.append(draws)
    return plan


def read_draw(draw: Draw, ids: list[int], facts: FolderFacts, *, stopped: bool) -> Sampled:
    """Return a finished draw from the tokens that were generated, the last one included.

    `stopped`: the sampler says that the end of turn or a stop string was reached.
    """
    ended = bool(ids) and ids[-1] in facts.stop_ids
    reader = DrawReader(facts.tokenizer, draw.decoding)
    return reader.read(draw.key, draw.number, ids, draw.opening, ended=ended, stopped=stopped)


def fit_pair(pair: Pair, window: int) -> Pair:
    """Return a pair that vLLM can score: the context loses its beginning where it is too long.

    vLLM keeps room for one generated token and also reads the last one, which is only asked about:
    a context at the window's edge loses two tokens more than with transformers.

    Raises:
        ModelError: the continuation alone leaves no room for a context.
    """
    room = window - 1 - len(pair.target)
    if room < 1:
        raise ModelError(
            f"a continuation of {len(pair.target)} tokens cannot be scored: the context window "
            f"holds {window}"
        )
    return Pair(pair.context[-room:], pair.target)


def cut_at_stop(text: str, stop: Sequence[str]) -> tuple[str, bool]:
    """Return the text before the first stop string in it, and whether there was one."""
    places = [at for at in map(text.find, stop) if at >= 0]
    return (text[: min(places)], True) if places else (text, False)


class DrawReader:
    """Reads draws of one decoding from their tokens."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, decoding: Decoding) -> None:
        self.strings, self._decoding = StopStrings(tokenizer, decoding.stop), decoding

    def read(
        self,
        key: str,
        draw: int,
        ids: list[int],
        opening: str,
        *,
        ended: bool,
        stopped: bool = False,
    ) -> Sampled:
        """Return a draw from its tokens, of which the last one ends the turn if it `ended`.

        `opening`: the mark by which its prompt opens a thought. `stopped`: it stopped by itself,
        whatever the text shows.
        """
        if (limit := self._limit(ids, opening)) < len(ids):
            ids, ended, stopped = ids[:limit], False, False
        text, cut = self.strings.cut(ids[:-1] if ended else ids)
        finish: Finish = "stop" if ended or cut or stopped else "length"
        return Sampled(key, draw, opening + text, len(ids), finish)

    def _limit(self, ids: list[int], opening: str) -> int:
        """Return how many tokens a draw may have: a thought its own, the answer after it its own.

        What was sampled beyond is as if it had not been: it depends on what comes before alone.
        """
        thinking, answer = self._decoding.max_thinking_tokens, self._decoding.max_new_tokens
        if not thinking or not answer_of(opening + self.strings.cut(ids)[0]).thought:
            return answer

        def closed(count: int) -> bool:
            return is_closed(opening + self.strings.cut(ids[:count])[0])

        end = bisect_left(range(len(ids) + 1), True, key=closed)
        return end + answer if end <= min(thinking, len(ids)) else thinking


def think_for(decoding: Decoding, requests: Sequence[Request], tokens: int) -> Decoding:
    """Return the decoding with as many tokens for a thought, where requests are conversations."""
    if all(isinstance(request.messages, str) for request in requests):
        return decoding
    return replace(decoding, max_thinking_tokens=tokens)


class StopStrings:
    """Finds stop strings in growing token sequences, decoding only their ends."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stop: tuple[str, ...]) -> None:
        """Measure how far back a stop string can begin.

        A token holds at least one byte, so a string of n bytes spans at most n tokens; one more in
        front of them keeps their leading space where a tokenizer drops that of the first token.

        Raises:
            ValueError: an empty stop string, which every text contains.
        """
        if "" in stop:
            raise ValueError("an empty stop string would end every draw before it begins")
        self._tokenizer, self.stop = tokenizer, stop
        special = zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True)
        self._marks = frozenset(token for token, text in special if text in SPECIAL)
        self._tail = max((len(s.encode()) for s in stop), default=0) + 1

    def reached(self, ids: list[int]) -> bool:
        """Whether the newest tokens complete a stop string."""
        if not self.stop:
            return False
        seen = cut_at_stop(self._text(ids[-self._tail :]), self.stop)[1]
        return seen and self.cut(ids)[1]  # a token may decode differently out of context

    def cut(self, ids: list[int]) -> tuple[str, bool]:
        """Return the tokens' text before the first stop string, and whether there was one."""
        return cut_at_stop(self._text(ids), self.stop)

    def _text(self, ids: list[int]) -> str:
        """Return the text without special tokens, but with those that mark a thought."""
        if self._marks.isdisjoint(ids):
            return str(self._tokenizer.decode(ids, skip_special_tokens=True))
        return "".join(
            str(self._tokenizer.decode(list(group), skip_special_tokens=not marks))
            for marks, group in groupby(ids, self._marks.__contains__)
        )
