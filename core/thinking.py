"""What thinking models write before their answer, told apart from the answer.

The marks are those of chat templates in use: DeepSeek-R1, Qwen3, QwQ, GLM, MiniMax (`<think>`),
prompted chain of thought (`<thinking>`), Gemini (`<thought>`), Seed-OSS, Magistral, Command A
Reasoning, and gpt-oss, whose `analysis` and `commentary` channels come before its `final` one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

_OPENING = (
    r"<(?:seed:)?think>|<thinking>|<thought>|\[THINK\]|<\|START_THINKING\|>"
    r"|<\|channel\|>(?:analysis|commentary)\b"
)
_CLOSING = (
    r"</(?:seed:)?think>|</thinking>|</thought>|\[/THINK\]|<\|END_THINKING\|>"
    r"|<\|channel\|>final\s{0,9}(?:<\|constrain\|>\w{0,20})?<\|message\|>"
)
# A mark in quotes is talked about: "the answer holds a `<think>` block".
_OPENED = re.compile(rf"(?<![`'\"“‘])(?:{_OPENING})")
_CLOSED = re.compile(_CLOSING)
_OPENED_LAST = re.compile(rf"(?:{_OPENING})\s*\Z")

SPECIAL = frozenset(
    [
        "<think>",
        "</think>",
        "[THINK]",
        "[/THINK]",
        "<|START_THINKING|>",
        "<|END_THINKING|>",
        "<|channel|>",
        "<|message|>",
        "<seed:think>",
        "</seed:think>",
    ]
)
"""Marks that tokenizers may hold as special tokens: engines keep them in a draw's text."""


class Answered(Protocol):
    """A row with an answer."""

    @property
    def thought(self) -> str:
        """What was thought before it, "" if nothing."""


class Said(NamedTuple):
    """A text in two parts: what was thought, marks included ("" if nothing), and what was said.

    `unclosed`: the thought has no end, so that nothing was said.
    """

    thought: str
    text: str
    unclosed: bool = False


def after_thought(text: str) -> Said:
    """Return what follows the last end of a thought; nothing if another thought begins there."""
    ends = [closed.end() for closed in _CLOSED.finditer(text)]
    start = ends[-1] if ends else 0
    if _OPENED.search(text, start):
        return Said(text, "", unclosed=True)
    return Said(text[:start], text[start:].lstrip() if start else text)


def answer_of(text: str) -> Said:
    """Return a model's answer without the thought before it.

    As `after_thought`; but an answer whose first mark is an opening one in mid-text talks about
    thinking, and stays whole.
    """
    opened, closed = _OPENED.search(text), _CLOSED.search(text)
    if (
        opened
        and text[: opened.start()].strip()
        and not (closed and closed.start() < opened.start())
    ):
        return Said("", text)
    return after_thought(text)


def opening_of(prompt: str) -> str:
    """Return the mark (and the space after it) by which a prompt's end opens a thought, or ""."""
    found = _OPENED_LAST.search(prompt)
    return found[0] if found else ""


def closing_of(opening: str) -> str:
    """Return the text that ends the thought which a prompt's end opens, "" where it opens none."""
    if not (mark := opening.strip()):
        return ""
    closing = mark.replace("START", "END") if "START" in mark else f"{mark[0]}/{mark[1:]}"
    return f"\n{closing}\n\n"


def is_closed(text: str) -> bool:
    """Whether a thought ends in this text."""
    return _CLOSED.search(text) is not None


def removed(rows: Iterable[Answered]) -> dict[str, int]:
    """Return how many answers a thought was removed from, for a manifest; {} if none."""
    count = sum(bool(row.thought) for row in rows)
    return {"thinking_removed": count} if count else {}
