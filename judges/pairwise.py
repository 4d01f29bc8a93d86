"""Pairwise judging of two answers to one prompt, in both presentation orders.

Disagreement between the orders is a tie (paper, section 3.1.2). What the judge is shown and how its
reply is read is a `PairPrompt` (judges/pair_prompts.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from core.records import Message, Verdict
from judges.asking import Ask

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from judges.asking import Judge, Reply

Winner = Literal["A", "B", "tie"]


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


class PairReading(NamedTuple):
    """The winner by a reply, "A" being the answer shown first, or why it cannot be parsed."""

    winner: Winner | None
    unparsed: str | None


class PairPrompt(NamedTuple):
    """How two answers are shown to a judge and its reply is parsed.

    `weigh`: the reply is the most probable of these tokens; empty: the reply is text.
    """

    name: str
    messages: Callable[[AnswerPair], list[Message]]
    read: Callable[[Reply], PairReading]
    max_new_tokens: int
    weigh: tuple[str, ...] = ()


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
    shown = {}
    for item in items:
        shown[f"{item.key}/ab"] = item
        shown[f"{item.key}/ba"] = item.swapped()
    asks = [
        Ask(key, tuple(prompt.messages(item)), prompt.max_new_tokens, weigh=prompt.weigh)
        for key, item in shown.items()
        if key not in done
    ]
    for reply in judge.ask(asks):
        if reply.finish == "failed":
            failures.append(reply)
            continue
        verdict = _verdict(shown[reply.key], reply, prompt)
        yield verdict if reply.key.endswith("/ab") else verdict.swapped()


def _verdict(item: AnswerPair, reply: Reply, prompt: PairPrompt) -> Verdict:
    if reply.finish in ("too_long", "refused"):
        reason = "prompt_too_long" if reply.finish == "too_long" else "refused"
        read = PairReading(None, reason)
    else:
        read = prompt.read(reply)
    names = (reply.key, item.prompt_key or item.key, item.a, item.b)
    return Verdict(*names, read.winner, read.unparsed, (reply.text,))
