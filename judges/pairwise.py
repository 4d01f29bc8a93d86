"""Comparing two answers of one prompt, in both presentation orders.

Disagreement between the orders is a tie (paper, section 3.1.2). The words
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
    from collections.abc import Collection, Iterator, Sequence

    from engines.engine import Engine, Sampled

_TURN = re.compile(r"<\|im_start\|>(\w+)\n(.*?)\n?<\|im_end\|>", re.DOTALL)
_SHOWN: dict[int, Literal["A", "B"]] = {1: "A", 2: "B"}
_FIELD = re.compile(r"(\{instruction\}|\{output_1\}|\{output_2\})")
_MAX_REPLY_TOKENS = 100  # the annotator's own setting: a ranking of two is about 60 tokens


class Comparison(NamedTuple):
    """Two answers to the same prompt, and the names of who gave them.

    `key` names the comparison; `prompt_key` the prompt, where one prompt is compared more than once
    (empty: the same as `key`).
    """

    key: str
    prompt: str
    a: str
    b: str
    answer_a: str
    answer_b: str
    prompt_key: str = ""

    def swapped(self) -> Comparison:
        """Return the same comparison with the sides exchanged."""
        return self._replace(a=self.b, b=self.a, answer_a=self.answer_b, answer_b=self.answer_a)


def compare(engine: Engine, items: Sequence[Comparison], *, seed: int) -> Iterator[Verdict]:
    """Yield a verdict per item once both of its orders have been judged."""
    waiting: dict[str, Verdict] = {}
    for verdict in judge_orders(engine, items, seed=seed):
        key = item_key(verdict)
        other = waiting.pop(key, None)
        if other is None:
            waiting[key] = verdict
        else:
            yield combine(*sorted((other, verdict), key=lambda v: v.key))


def judge_orders(
    engine: Engine, items: Sequence[Comparison], *, seed: int, done: Collection[str] = ()
) -> Iterator[Verdict]:
    """Yield each order's verdict by itself, seen from A's side, leaving out the keys in `done`.

    Keys end in "/ab" where A was shown first and in "/ba" where B was. Decoding is greedy. For
    callers that keep every paid reply; `combine` makes one verdict of the two.
    """
    shown = {}
    for item in items:
        shown[f"{item.key}/ab"] = item
        shown[f"{item.key}/ba"] = item.swapped()
    requests = [Request(k, ranking_messages(i)) for k, i in shown.items() if k not in done]
    for sampled in engine.sample(requests, Decoding(0.0, 1.0, _MAX_REPLY_TOKENS, seed)):
        verdict = _read(shown[sampled.key], sampled)
        yield verdict if sampled.key.endswith("/ab") else verdict.swapped()


def item_key(verdict: Verdict) -> str:
    """Return the comparison that one order's verdict belongs to."""
    return verdict.key.removesuffix("/ab").removesuffix("/ba")


def combine(ab: Verdict, ba: Verdict) -> Verdict:
    """Join the two orders' verdicts of `judge_orders`: disagreement is a tie.

    If either order could not be read there is no verdict: half a comparison carries the position
    bias that judging both orders is there to remove.
    """
    replies = (*ab.replies, *ba.replies)
    unparsed = ab.unparsed or ba.unparsed
    agreed = ab.winner if ab.winner == ba.winner else "tie"
    winner = None if unparsed else agreed
    return Verdict(item_key(ab), ab.prompt_key, ab.a, ab.b, winner, unparsed, replies)


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
    names = (sampled.key, item.prompt_key or item.key, item.a, item.b)
    if sampled.finish == "too_long":
        return Verdict(*names, None, "prompt_too_long", ("",))
    choice = parse_ranking(sampled.text, cut=sampled.finish == "length")
    winner = None if choice.preferred is None else _SHOWN[choice.preferred]
    return Verdict(*names, winner, choice.unparsed, (sampled.text,))


@lru_cache(maxsize=1)
def _ranking_template() -> tuple[tuple[str, str], ...]:
    spec = importlib.util.find_spec("alpaca_eval")
    if spec is None or not spec.submodule_search_locations:
        message = "the AlpacaEval prompt is read from the package alpaca-eval: run `make setup`"
        raise ConfigError(message)
    folder = Path(spec.submodule_search_locations[0]) / "evaluators_configs" / "alpaca_eval_gpt4"
    text = (folder / "alpaca_eval.txt").read_text(encoding="utf-8")
    return tuple(_TURN.findall(text))
