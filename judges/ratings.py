"""Parsing MT-Bench judge replies: a rating or a winner, or the reason why there is none.

The formats are FastChat's: "[[7]]", else "[7]", and "[[A]]", "[[B]]", "[[C]]". FastChat takes the
first rating of a reply and prefers [[A]] to [[B]] wherever they stand; here the last one counts,
because a judge quotes "[[10]]" from the answer, or discusses a matrix ("[[1]]"), before its
verdict. Where a reply holds one rating, as all recorded ones do, both rules agree. The prompt's own
example of the format, repeated in a reply, is ignored.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from judges.replies import Reason

LOWEST, HIGHEST = 1.0, 10.0

_NUMBER = re.compile(r"[0-9]+\.?[0-9]*")
_WITH_A_DIGIT = re.compile(r"\[\[([^\[\]\n]*[0-9][^\[\]\n]*)\]\]")
_SINGLE = re.compile(r"\[([0-9]+\.?[0-9]*)\]")
_WINNER = re.compile(r"\[\[([ABC])\]\]")
_UNFINISHED = re.compile(r"\[\[[^\[\]\n]*\]?\Z")
# The prompts' examples, where a judge repeats them verbatim.
_RATING_EXAMPLE = re.compile(r"for\s+example:\W*Rating:\s*\[\[5\]\]", re.IGNORECASE)
_WINNER_EXAMPLE = re.compile(
    r"\[\[A\]\]\W+if\s+assistant\s+A\s+is\s+better\W+\[\[B\]\]\W+if\s+assistant\s+B\s+is\s+better"
    r"\W+and\W+\[\[C\]\]\W+for\s+a\s+tie",
    re.IGNORECASE,
)
_SIDES: dict[str, Literal["A", "B", "tie"]] = {"A": "A", "B": "B", "C": "tie"}


class Rating(NamedTuple):
    """A rating in 1..10, or why there is none; exactly one of the two is None."""

    value: float | None
    unparsed: Reason | None


class PairChoice(NamedTuple):
    """The better of the two answers shown, or why it cannot be parsed."""

    winner: Literal["A", "B", "tie"] | None
    unparsed: Reason | None


def parse_rating(reply: str, *, cut: bool = False) -> Rating:
    """Read the last "[[x]]" of a judge's reply or, if there is no such number, the last "[x]".

    A later "[[8/10]]" or "[[7-8]]" makes the reply ambiguous rather than reviving an earlier
    number. A reply `cut` off inside its last brackets has no rating.

    Args:
        reply: the judge's text, without the prompt.
        cut: whether the reply was cut off by the token limit.
    """
    if not reply.strip():
        return Rating(None, "empty")
    if cut and _UNFINISHED.search(reply):
        return Rating(None, "cut_off")
    words = _RATING_EXAMPLE.sub("", reply)
    double = _WITH_A_DIGIT.findall(words)
    if any(_NUMBER.fullmatch(found) for found in double):
        last = double[-1]
        if not _NUMBER.fullmatch(last):
            return Rating(None, "ambiguous")
    elif single := _SINGLE.findall(words):
        last = single[-1]
    else:
        return Rating(None, "cut_off" if cut else "no_score")
    value = float(last)
    if not LOWEST <= value <= HIGHEST:
        return Rating(None, "out_of_range")
    return Rating(value, None)


def parse_pair(reply: str, *, cut: bool = False) -> PairChoice:
    """Read the last "[[A]]", "[[B]]" or "[[C]]" (a tie) of a judge's reply.

    Args:
        reply: the judge's text, without the prompt.
        cut: whether the reply was cut off by the token limit.
    """
    if not reply.strip():
        return PairChoice(None, "empty")
    if cut and _UNFINISHED.search(reply):
        return PairChoice(None, "cut_off")
    found = _WINNER.findall(_WINNER_EXAMPLE.sub("", reply))
    if not found:
        return PairChoice(None, "cut_off" if cut else "no_score")
    return PairChoice(_SIDES[found[-1]], None)
