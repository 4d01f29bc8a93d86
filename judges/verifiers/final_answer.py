r"""Exact final answers, as in GSM8K: does a response end with the number (or words) wanted?

The final answer of a response stands behind its last "####", inside its last \boxed{}, or behind
its last "answer is" or "Answer:"; without any of these it is its last number. Numbers are compared
by value: "$1,200.00" is 1200. Whatever else is wanted is compared as text, without case, outer
punctuation and repeated spaces.

Source: Cobbe et al. 2021 (arXiv 2110.14168): solutions end with "#### 42".
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

_MARK = "####"
_STATED = re.compile(
    r"####(?P<hash>[^\n]*)|\\boxed\{(?P<box>[^{}\n]*)\}|\banswer(?:\s+is\b|\s*:)\s*:?(?P<said>[^\n]*)",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:,[0-9]{3})*(?:\.[0-9]+)?|\.[0-9]+)(?![0-9])")
_MOST_DIGITS = 60
_OUTER = " \t.,;:!?'\"*`$()[]"


def wanted_answer(answer: str) -> str:
    """Return the final answer of a solution as data sets write it: what follows "####", or all."""
    return answer.rpartition(_MARK)[2].strip()


class Final(NamedTuple):
    """Whether a response's final answer is right, and that answer; None if it gives none."""

    right: bool
    found: str | None


def check_final(response: str, wanted: str) -> Final:
    """Compare the final answer of a response with the one wanted."""
    stated = [match[match.lastgroup or 0].strip() for match in _STATED.finditer(response)]
    stated = [text for text in stated if text.strip(_OUTER)]
    value = _value(wanted)
    if value is None:
        found = stated[-1] if stated else None
        return Final(found is not None and _plain(found) == _plain(wanted), found)
    numbers = [number for text in reversed(stated) if (number := _result(text)) is not None]
    found = numbers[0] if numbers else next(iter(_NUMBER.findall(response)[::-1]), None)
    return Final(found is not None and _value(found) == value, found)


def _result(stated: str) -> str | None:
    """Return the number that a statement of the answer ends in: of "3 + 4 = 7 apples", 7."""
    return next(iter(_NUMBER.findall(stated.rpartition("=")[2])), None)


def _value(text: str) -> Decimal | None:
    """Return a text that is a number, with or without thousands' commas, "$" and "%"."""
    plain = text.strip().rstrip(".%").lstrip("$").replace(",", "").replace(" ", "")
    plain = f"-{plain[2:]}" if plain.startswith("-$") else plain
    if len(plain) > _MOST_DIGITS or not _NUMBER.fullmatch(plain):
        return None
    try:
        return Decimal(plain)
    except InvalidOperation:
        return None


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).strip(_OUTER)
