"""Pairwise judge prompts, and how the replies to each are parsed.

The AlpacaEval prompts are read from the alpaca-eval package, FastChat's pair prompt from the
package of MT-Bench (judges/mt_bench_prompts.py); their texts are not copied here.
"""

from __future__ import annotations

import importlib.util
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import ConfigError
from judges.pairwise import PairPrompt, PairReading
from judges.replies import parse_ranking

if TYPE_CHECKING:
    from core.records import Message
    from judges.asking import Reply
    from judges.pairwise import AnswerPair, Winner

_TURN = re.compile(r"<\|im_start\|>(\w+)\n(.*?)\n?<\|im_end\|>", re.DOTALL)
_FIELD = re.compile(r"(\{instruction\}|\{output_1\}|\{output_2\})")
_RANKING_TOKENS = 100  # the annotator's own setting: a ranking of two is about 60 tokens
_PAIR_TOKENS = 1024  # an explanation, then the verdict
_SHOWN: dict[int, Winner] = {1: "A", 2: "B"}
_TOKENS = ("m", "M")  # AlpacaEval 2's names of the first and the second output


NAMES = ("alpaca_eval", "mt_bench", "first_token")


def pair_prompt(name: str) -> PairPrompt:
    """Return a pair prompt by its setting, one of `NAMES`."""
    return {
        "alpaca_eval": PairPrompt("alpaca_eval", ranking_messages, read_ranking, _RANKING_TOKENS),
        "first_token": PairPrompt("first_token", token_messages, read_token, 1, _TOKENS),
        "mt_bench": PairPrompt("mt_bench", _mt_bench_messages, _read_mt_bench, _PAIR_TOKENS),
    }[name]


def ranking_messages(item: AnswerPair) -> list[Message]:
    """Return the AlpacaEval ranking prompt (annotator alpaca_eval_gpt4) with A shown first."""
    return _filled("alpaca_eval_gpt4/alpaca_eval.txt", item)


def token_messages(item: AnswerPair) -> list[Message]:
    """Return AlpacaEval 2's prompt, whose answer is one token, with A shown first."""
    return _filled("alpaca_eval_clf_gpt4_turbo/alpaca_eval_clf.txt", item)


def read_ranking(reply: Reply) -> PairReading:
    """Read a ranking of the two models shown."""
    choice = parse_ranking(reply.text, cut=reply.finish == "length")
    return PairReading(
        None if choice.preferred is None else _SHOWN[choice.preferred],
        choice.unparsed,
    )


def read_token(reply: Reply) -> PairReading:
    """Read which of "m" and "M" is the more probable first token; equal ones are a tie."""
    content = (reply.logprobs or {}).get("content") or []
    found = {t["token"]: t["logprob"] for t in content[0]["top_logprobs"]} if content else {}
    if not set(_TOKENS) & found.keys():
        return PairReading(None, "no_score")
    first, second = (found.get(token, float("-inf")) for token in _TOKENS)
    return PairReading("tie" if first == second else "A" if first > second else "B", None)


def _mt_bench_messages(item: AnswerPair) -> list[Message]:
    from judges.mt_bench_prompts import pair_messages

    return pair_messages(item.prompt, item.answer_a, item.answer_b)


def _read_mt_bench(reply: Reply) -> PairReading:
    from judges.ratings import parse_pair

    found = parse_pair(reply.text, cut=reply.finish == "length")
    return PairReading(found.winner, found.unparsed)


def _filled(template: str, item: AnswerPair) -> list[Message]:
    """Fill the fields in one pass, so that text that looks like a field stays text."""
    values = {
        "{instruction}": item.prompt,
        "{output_1}": item.answer_a,
        "{output_2}": item.answer_b,
    }
    return [
        {"role": role, "content": "".join(values.get(p, p) for p in _FIELD.split(content))}
        for role, content in _turns(template)
    ]


@lru_cache(maxsize=4)
def _turns(template: str) -> tuple[tuple[str, str], ...]:
    spec = importlib.util.find_spec("alpaca_eval")
    if spec is None or not spec.submodule_search_locations:
        message = "the AlpacaEval prompts are read from the package alpaca-eval: run `make setup`"
        raise ConfigError(message)
    folder = Path(spec.submodule_search_locations[0]) / "evaluators_configs"
    return tuple(_TURN.findall((folder / template).read_text(encoding="utf-8")))
