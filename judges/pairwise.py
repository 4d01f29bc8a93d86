"""Comparing two answers of one prompt, in both presentation orders.

Disagreement between the orders is a tie (paper, section 3.2: head-to-head evaluation). The words
sent are those of the alpaca-eval package's `alpaca_eval_gpt4` annotator, read from the package.
"""

from __future__ import annotations

import importlib.util
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from core.errors import ConfigError
from core.records import Message, Verdict
from engines.engine import Decoding, Request
from judges.replies import parse_ranking

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from engines.engine import Engine, Sampled

_TURN = re.compile(r"<\|im_start\|>(\w+)\n(.*?)\n?<\|im_end\|>", re.DOTALL)
_SHOWN: dict[int, Literal["A", "B"]] = {1: "A", 2: "B"}
_FIELD = re.compile(r"(\{instruction\}|\{output_1\}|\{output_2\})")
_MAX_REPLY_TOKENS = 100  # the annotator's own setting: a ranking of two is about 60 tokens


class Comparison(NamedTuple):
    """Two answers to the same prompt, and the names of who gave them."""

    key: str
    prompt: str
    a: str
    b: str
    answer_a: str
    answer_b: str

    def swapped(self) -> Comparison:
        """Return the same comparison with the sides exchanged."""
        return Comparison(self.key, self.prompt, self.b, self.a, self.answer_b, self.answer_a)


def compare(engine: Engine, items: Sequence[Comparison], *, seed: int) -> Iterator[Verdict]:
    """Yield a verdict per item once both of its orders have been judged; greedy decoding."""
    requests = []
    for item in items:
        requests.append(Request(f"{item.key}/ab", ranking_messages(item)))
        requests.append(Request(f"{item.key}/ba", ranking_messages(item.swapped())))
    by_key = {item.key: item for item in items}
    waiting: dict[str, Verdict] = {}
    for sampled in engine.sample(requests, Decoding(0.0, 1.0, _MAX_REPLY_TOKENS, seed)):
        key, _, order = sampled.key.rpartition("/")
        item = by_key[key] if order == "ab" else by_key[key].swapped()
        verdict = _read(item, sampled)
        if order == "ba":
            verdict = verdict.swapped()
        other = waiting.pop(key, None)
        if other is None:
            waiting[key] = verdict
        else:
            first, second = (other, verdict) if order == "ba" else (verdict, other)
            yield combine(first, second)


def combine(ab: Verdict, ba: Verdict) -> Verdict:
    """Join the two orders' verdicts, both seen from A's side: disagreement is a tie.

    If either order could not be read there is no verdict: half a comparison carries the position
    bias that judging both orders is there to remove.
    """
    replies = (*ab.replies, *ba.replies)
    unparsed = ab.unparsed or ba.unparsed
    agreed = ab.winner if ab.winner == ba.winner else "tie"
    winner = None if unparsed else agreed
    return Verdict(ab.key, ab.prompt_key, ab.a, ab.b, winner, unparsed, replies)


def ranking_messages(item: Comparison) -> list[Message]:
    """Return the AlpacaEval ranking prompt with A shown first; fields are filled in one pass."""
    values = {
        "{instruction}": item.prompt,
        "{output_1}": item.answer_a,
        "{output_2}": item.answer_b,
    }
    return [
        {"role": role, "content": "".join(values.get(p, p) for p in _FIELD.split(content))}
        for role, content in _ranking_template()
    ]


def _read(item: Comparison, sampled: Sampled) -> Verdict:
    if sampled.finish == "too_long":
        return Verdict(item.key, item.key, item.a, item.b, None, "prompt_too_long", ("",))
    choice = parse_ranking(sampled.text, cut=sampled.finish == "length")
    winner = None if choice.preferred is None else _SHOWN[choice.preferred]
    return Verdict(item.key, item.key, item.a, item.b, winner, choice.unparsed, (sampled.text,))


@lru_cache(maxsize=1)
def _ranking_template() -> tuple[tuple[str, str], ...]:
    spec = importlib.util.find_spec("alpaca_eval")
    if spec is None or not spec.submodule_search_locations:
        message = "the AlpacaEval prompt is read from the package alpaca-eval: run `make setup`"
        raise ConfigError(message)
    folder = Path(spec.submodule_search_locations[0]) / "evaluators_configs" / "alpaca_eval_gpt4"
    text = (folder / "alpaca_eval.txt").read_text(encoding="utf-8")
    return tuple(_TURN.findall(text))
