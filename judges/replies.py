"""Parsing judge replies: a score, rating, ranking or winner, or the reason why there is none.

Only the judge's own text is parsed, never the prompt: a "Score: 5" inside the judged answer must
not count. An unparsable reply is never a 0, a tie or a loss.

Ratings and winners have FastChat's formats: "[[7]]", else "[7]", and "[[A]]", "[[B]]", "[[C]]".
FastChat takes the first rating of a reply and prefers [[A]] to [[B]] wherever they stand; here the
last one counts, because a judge quotes "[[10]]" from the answer, or discusses a matrix ("[[1]]"),
before its verdict. Where a reply holds one rating, as all recorded ones do, both rules agree. The
prompt's own example of the format, repeated in a reply, is ignored.
"""

from __future__ import annotations

import re
from typing import Generic, Literal, NamedTuple, TypeVar

T = TypeVar("T")

Winner = Literal["A", "B", "tie"]
Reason = Literal[
    "empty", "no_score", "out_of_range", "wrong_scale", "ambiguous", "cut_off", "prompt_too_long",
    "refused",
]  # fmt: skip

LOWEST_RATING, HIGHEST_RATING = 1.0, 10.0

# Read: "Score: 4", "**Score:** 4/5", "score : **3.5** out of 5". Recognised so that they count as
# the last score, then refused: "Score: 3-4", "Score: 1+1+1", "Score: four", "Score: <points>",
# "Score:" at the end. A colon followed by other words ("the score: a fair one") is prose.
_SCORE = re.compile(
    r"""(?<![^\W_])(?<![^\W_]_)score[*_`\s]*:       # the word and its colon, Markdown marks around
        (?:(?:[*_`]|[^\S\n])*+                      # ... on one line with the number, or above it,
          |[*_`\s]*\n[*_`\s]*+(?![0-9]+[.)][^\S\n]))  # ... but not above a list: "1. Relevant"
        (?:
            (?P<value>[-+]?[0-9]+(?:\.[0-9]+)?)     # the number
            (?![^\W_]|[.,_][0-9])                   # ... whole: not the start of something longer
            (?:[*_`\s]*(?:/|out\s+of)[*_`\s]*(?P<of>[0-9]+(?:\.[0-9]+)?))?       # "/5", "out of 5"
            (?P<more>[*_`]*[^\S\n]*(?:[-–—~+=]|to\b|or\b)[^\S\n]*[*_`]*[0-9])?  # "-4", "or 4"
          |(?=[^\w\n]{0,3}[0-9]|<|(?:zero|one|two|three|four|five)\b|\Z)         # not a number
        )
    """,
    re.IGNORECASE | re.VERBOSE,
)
_RANK = re.compile(
    r"""['"]model['"]\s*:\s*['"](?P<name>[^'"]+)['"]\s*,\s*['"]rank['"]\s*:\s*['"]?(?P<rank>[0-9]+)"""
)
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
_SIDES: dict[str, Winner] = {"A": "A", "B": "B", "C": "tie"}


class Parsed(NamedTuple, Generic[T]):
    """What a reply says, or why it cannot be parsed; exactly one of the two is None."""

    value: T | None
    unparsed: Reason | None


def parse_score(  # noqa: PLR0911 - one return per reason
    reply: str, *, low: float, high: float, cut: bool = False
) -> Parsed[float]:
    """Read the last "Score: x" of a judge's reply.

    The last one counts even if it is unusable: falling back to an earlier one could return a quoted
    score. A reply `cut` off by the token limit right behind a number is refused, because the
    number may have had more digits.

    Args:
        reply: the judge's text, without the prompt.
        low: least valid score.
        high: greatest valid score; also the only scale accepted in "4/5".
        cut: whether the reply was cut off by the token limit.
    """
    if not reply.strip():
        return Parsed(None, "empty")
    found = list(_SCORE.finditer(reply))
    if not found or found[-1]["value"] is None:
        return Parsed(None, "cut_off" if cut else "no_score")
    last = found[-1]
    if last["more"]:
        return Parsed(None, "ambiguous")
    if last["of"] and float(last["of"]) != high:
        return Parsed(None, "wrong_scale")
    value = float(last["value"])
    if cut and not last["of"] and last.end() == len(reply.rstrip().rstrip(".,")):
        return Parsed(None, "cut_off")
    if not low <= value <= high:
        return Parsed(None, "out_of_range")
    return Parsed(value, None)


def parse_ranking(reply: str, *, cut: bool = False) -> Parsed[Literal[1, 2]]:
    """Read a reply to the AlpacaEval ranking prompt: which of model_1 and model_2 has rank 1.

    The reply is searched, never executed. Both models must be ranked, once, with different ranks.
    """
    if not reply.strip():
        return Parsed(None, "empty")
    found = [(match["name"], match["rank"]) for match in _RANK.finditer(reply)]
    ranks = dict(found)
    if not found:
        return Parsed(None, "cut_off" if cut else "no_score")
    if set(ranks) != {"model_1", "model_2"} or len(found) != len(ranks):
        return Parsed(None, "cut_off" if cut and len(found) < 2 else "ambiguous")  # noqa: PLR2004
    if set(ranks.values()) != {"1", "2"}:
        return Parsed(None, "out_of_range")
    return Parsed(1 if ranks["model_1"] == "1" else 2, None)


def parse_rating(reply: str, *, cut: bool = False) -> Parsed[float]:
    """Read a rating in 1..10: a reply's last "[[x]]" or, without such a number, its last "[x]".

    A later "[[8/10]]" or "[[7-8]]" makes the reply ambiguous rather than reviving an earlier
    number. A reply `cut` off by the token limit inside its last brackets has no rating.
    """
    if not reply.strip():
        return Parsed(None, "empty")
    if cut and _UNFINISHED.search(reply):
        return Parsed(None, "cut_off")
    words = _RATING_EXAMPLE.sub("", reply)
    double = _WITH_A_DIGIT.findall(words)
    if any(_NUMBER.fullmatch(found) for found in double):
        last = double[-1]
        if not _NUMBER.fullmatch(last):
            return Parsed(None, "ambiguous")
    elif single := _SINGLE.findall(words):
        last = single[-1]
    else:
        return Parsed(None, "cut_off" if cut else "no_score")
    value = float(last)
    if not LOWEST_RATING <= value <= HIGHEST_RATING:
        return Parsed(None, "out_of_range")
    return Parsed(value, None)


def parse_pair(reply: str, *, cut: bool = False) -> Parsed[Winner]:
    """Read the last "[[A]]", "[[B]]" or "[[C]]" (a tie): the better of the two answers shown."""
    if not reply.strip():
        return Parsed(None, "empty")
    if cut and _UNFINISHED.search(reply):
        return Parsed(None, "cut_off")
    found = _WINNER.findall(_WINNER_EXAMPLE.sub("", reply))
    if not found:
        return Parsed(None, "cut_off" if cut else "no_score")
    return Parsed(_SIDES[found[-1]], None)
