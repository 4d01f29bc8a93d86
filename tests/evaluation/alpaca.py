"""What the AlpacaEval tests share: a judge whose words come from a function, and small rows."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from core.records import Annotation, Generation
from evaluation.alpaca_eval.files import instruction_key
from judges.asking import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from judges.asking import Ask


class ScriptedJudge:
    """Answers each request with `reply(ask)`; `asked` keeps what was asked."""

    def __init__(self, reply: Callable[[Ask], Reply], name: str = "scripted") -> None:
        self._reply, self.name, self.identity = reply, name, f"scripted:{name}"
        self.asked: list[Ask] = []

    def ask(self, asks: Sequence[Ask]) -> Iterator[Reply]:
        for ask in reversed(asks):  # no particular order
            self.asked.append(ask)
            yield self._reply(ask)


def number_of(text: str) -> int:
    """Return a number that depends on a text alone, the same in every run."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)


def logprobs(**tokens: float) -> dict[str, Any]:
    """Return the first token's log-probabilities in the OpenAI form."""
    top = [{"token": token, "logprob": value} for token, value in tokens.items()]
    return {"content": [{**top[0], "top_logprobs": top}]}


def generation(instruction: str, text: str, finish: str = "stop") -> Generation:
    key = instruction_key(instruction)
    return Generation(key, key, instruction, text, len(text.split()), finish)


def annotation(
    instruction: str,
    preference: float | None,
    *,
    output_1: str = "reference",
    output_2: str = "model's",
    missing: str | None = None,
    annotator: str = "an annotator",
) -> Annotation:
    reason = missing if preference is not None else missing or "unparsed"
    return Annotation(
        instruction_key(instruction), instruction, output_1, output_2, "ref", "M1", annotator,
        preference, reason, "",
    )  # fmt: skip
