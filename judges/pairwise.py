"""Pairwise judging of two answers to one prompt, in both presentation orders.

Disagreement between the orders is a tie (paper, section 3.1.2). What the judge is shown and how its
reply is read is a `PairPrompt`. The AlpacaEval prompts are read from the alpaca-eval package,
FastChat's pair prompt from the package of its benchmark (judges/fastchat_prompts.py).
"""

from __future__ import annotations

import importlib.util
import math
import re
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from core.completions import token_probabilities
from core.errors import ConfigError
from core.records import Message, Verdict, user
from core.reductions import winner_of
from judges.asking import Ask, Judge, Reply
from judges.distribution import LEAST_MASS, WINNER, Form, read_distribution
from judges.fastchat_prompts import pair_messages
from judges.replies import Parsed, Winner, parse_pair, parse_ranking
from judges.rubrics.pair_rubrics import PairRubric, load_pair_rubric

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence


_TURN = re.compile(r"<\|im_start\|>(\w+)\n(.*?)\n?<\|im_end\|>", re.DOTALL)
_FIELD = re.compile(r"(\{instruction\}|\{output_1\}|\{output_2\})")
_RANKING_TOKENS = 100  # the annotator's own setting: a ranking of two is about 60 tokens
_PAIR_TOKENS = 1024  # an explanation, then the verdict
_SHOWN: dict[int, Winner] = {1: "A", 2: "B"}
_TOKENS = ("m", "M")  # AlpacaEval 2's names of the first and the second output
VERDICT_LEAD = 'The best model is "'
"""Behind these words small judges name one of the two tokens, where they would go on otherwise."""


class AnswerPair(NamedTuple):
    """Two answers to the same prompt, and the names of the models that gave them.

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

    def swapped(self) -> AnswerPair:
        """Return the same comparison with the sides exchanged."""
        return self._replace(a=self.b, b=self.a, answer_a=self.answer_b, answer_b=self.answer_a)


class PairPrompt(NamedTuple):
    """How two answers are shown to a judge and its reply is parsed ("A": the one shown first).

    `weigh`: the reply is the most probable of these tokens; empty: the reply is text. `chance`
    reads the probability that the first one is better, for verdicts read as expected values:
    behind `lead` of a local judge, or of `form`.
    """

    name: str
    messages: Callable[[AnswerPair], list[Message]]
    read: Callable[[Reply], Parsed[Winner]]
    max_new_tokens: int
    weigh: tuple[str, ...] = ()
    chance: Callable[[Reply], Parsed[float]] | None = None
    lead: str = ""
    form: Form | None = None


def judge_orders(
    judge: Judge,
    items: Sequence[AnswerPair],
    prompt: PairPrompt,
    *,
    done: Collection[str] = (),
    failures: list[Reply],
) -> Iterator[Verdict]:
    """Yield each order's verdict by itself, seen from A's side, leaving out the keys in `done`.

    Keys end in "/ab" where A was shown first and in "/ba" where B was; `core.reductions.combine`
    joins the two. Decoding is greedy. Requests that failed for good are appended to `failures` and
    yield nothing.
    """
    asks = [ask for ask in order_asks(items, prompt) if ask.key not in done]

    def answered() -> Iterator[Reply]:
        for reply in judge.ask(asks):
            if reply.finish == "failed":
                failures.append(reply)
            else:
                yield reply

    yield from read_orders(answered(), items, prompt)


def order_asks(items: Sequence[AnswerPair], prompt: PairPrompt) -> list[Ask]:
    """Return the requests of `judge_orders`."""
    return [
        Ask(
            key,
            tuple(prompt.messages(item)),
            prompt.max_new_tokens,
            weigh=prompt.weigh,
            lead=prompt.lead,
            form=prompt.form,
        )
        for key, item in _in_both_orders(items).items()
    ]


def read_orders(
    replies: Iterable[Reply], items: Sequence[AnswerPair], prompt: PairPrompt
) -> Iterator[Verdict]:
    """Yield the verdict of each reply to `order_asks` that did not fail, seen from A's side."""
    shown = _in_both_orders(items)
    for reply in replies:
        if reply.finish != "failed":
            verdict = _verdict(shown[reply.key], reply, prompt)
            yield verdict if reply.key.endswith("/ab") else verdict.swapped()


def _in_both_orders(items: Sequence[AnswerPair]) -> dict[str, AnswerPair]:
    shown = {}
    for item in items:
        shown[f"{item.key}/ab"] = item
        shown[f"{item.key}/ba"] = item.swapped()
    return shown


def _verdict(item: AnswerPair, reply: Reply, prompt: PairPrompt) -> Verdict:
    names = (reply.key, item.prompt_key or item.key, item.a, item.b)
    if reply.finish in ("too_long", "refused"):
        reason = "prompt_too_long" if reply.finish == "too_long" else "refused"
        return Verdict(*names, None, reason, (reply.text,))
    mass = verdict_mass(reply, prompt.weigh) if prompt.weigh else None
    if prompt.chance is None:
        read = prompt.read(reply)
        return Verdict(*names, read.value, read.unparsed, (reply.text,), mass)
    chance, unread = prompt.chance(reply)
    winner = None if chance is None else winner_of(chance)
    return Verdict(*names, winner, unread, (reply.text,), mass, chance)


NAMES = ("alpaca_eval", "mt_bench", "first_token")


def pair_prompt(name: str, reading: str = "words") -> PairPrompt:
    """Return a pair prompt by its setting, read as `evaluation.judge.reading` says.

    `name` is one of `NAMES` or the path of one's own rubric (judges/rubrics/pair_rubrics.py).

    Raises:
        ConfigError: a ranking has no place where one token decides.
        DataError: the rubric's file cannot be used.
    """
    if name.endswith(".md"):
        return _own_prompt(load_pair_rubric(name), reading)
    prompts = {
        "alpaca_eval": PairPrompt("alpaca_eval", ranking_messages, _read_ranking, _RANKING_TOKENS),
        "first_token": PairPrompt("first_token", token_messages, read_token, 1, _TOKENS),
        "mt_bench": PairPrompt("mt_bench", _fastchat_messages, _read_pair, _PAIR_TOKENS),
    }
    if reading == "words":
        return prompts[name]
    if name == "alpaca_eval":
        message = (
            "evaluation.judge.reading = 'expected' cannot read a ranking; set "
            "evaluation.head_to_head.prompt to 'first_token' or 'mt_bench'"
        )
        raise ConfigError(message)
    if name == "first_token":
        return prompts[name]._replace(chance=_token_chance, lead=VERDICT_LEAD)
    return prompts[name]._replace(chance=partial(_chance, WINNER), form=WINNER)


def _own_prompt(rubric: PairRubric, reading: str) -> PairPrompt:
    def messages(item: AnswerPair) -> list[Message]:
        return user(rubric.render(item.prompt, item.answer_a, item.answer_b))

    return rubric_prompt(rubric, messages, reading)


def rubric_prompt(
    rubric: PairRubric, messages: Callable[[AnswerPair], list[Message]], reading: str
) -> PairPrompt:
    """Return a pair prompt whose verdicts are those of a rubric."""

    def read(reply: Reply) -> Parsed[Winner]:
        return rubric.read(reply.text, cut=reply.finish == "length")

    prompt = PairPrompt(rubric.name, messages, read, _PAIR_TOKENS)
    if reading == "words":
        return prompt
    form = rubric.form
    return prompt._replace(chance=partial(_chance, form), form=form)


def ranking_messages(item: AnswerPair) -> list[Message]:
    """Return the AlpacaEval ranking prompt (annotator alpaca_eval_gpt4) with A shown first."""
    return _filled("alpaca_eval_gpt4/alpaca_eval.txt", item)


def token_messages(item: AnswerPair) -> list[Message]:
    """Return AlpacaEval 2's prompt, whose answer is one token, with A shown first."""
    return _filled("alpaca_eval_clf_gpt4_turbo/alpaca_eval_clf.txt", item)


def _read_ranking(reply: Reply) -> Parsed[Winner]:
    preferred, unparsed = parse_ranking(reply.text, cut=reply.finish == "length")
    return Parsed(None if preferred is None else _SHOWN[preferred], unparsed)


def read_token(reply: Reply) -> Parsed[Winner]:
    """Read which of "m" and "M" is the more probable first token; equal ones are a tie.

    None for a reply without log-probabilities ("no_logprobs"), and where the two have less than
    half of the probability ("no_verdict_token").
    """
    mass = verdict_mass(reply, _TOKENS)
    if mass is None:
        return Parsed(None, "no_logprobs")
    if mass < LEAST_MASS:
        return Parsed(None, "no_verdict_token")
    found = dict(token_probabilities({"logprobs": reply.logprobs}))
    first, second = (found.get(token, 0.0) for token in _TOKENS)
    return Parsed("tie" if first == second else "A" if first > second else "B", None)


def _token_chance(reply: Reply) -> Parsed[float]:
    """Read the probability of "m" against "M", as `read_token` reads the more probable one."""
    read = read_token(reply)
    if read.value is None:
        return Parsed(None, read.unparsed)
    found = dict(token_probabilities({"logprobs": reply.logprobs}))
    first, second = (found.get(token, 0.0) for token in _TOKENS)
    return Parsed(first / (first + second), None)


def _chance(form: Form, reply: Reply) -> Parsed[float]:
    read = read_distribution(reply, form)
    return Parsed(None if read.value is None else read.value.mean, read.unparsed)


def verdict_mass(reply: Reply, tokens: Sequence[str], at: int = 0) -> float | None:
    """Return the probability that the reply's token at one place is one of `tokens`.

    None where the judge returned no log-probabilities (absent, null or NaN).
    """
    found = dict(token_probabilities({"logprobs": reply.logprobs}, at))
    return math.fsum(found.get(token, 0.0) for token in tokens) if found else None


def _fastchat_messages(item: AnswerPair) -> list[Message]:
    return pair_messages(item.prompt, item.answer_a, item.answer_b)


def _read_pair(reply: Reply) -> Parsed[Winner]:
    return parse_pair(reply.text, cut=reply.finish == "length")


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
