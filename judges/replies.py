"""Parsing judge replies: a score or a ranking, or the reason why there is none.

Only the judge's own text is parsed, never the prompt: a "Score: 5" inside the judged answer must
not count. An unparsable reply is never a 0, a tie or a loss.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

Reason = Literal[
    "empty", "no_score", "out_of_range", "wrong_scale", "ambiguous", "cut_off", "prompt_too_long"
]

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


class ParsedScore(NamedTuple):
    """A score, or why there is none; exactly one of the two is None."""

    value: float | None
    unparsed: Reason | None


class Preference(NamedTuple):
    """Which of the two outputs shown is preferred (1 or 2), or why it cannot be parsed."""

    preferred: Literal[1, 2] | None
    unparsed: Reason | None


def parse_score(  # noqa: PLR0911 - one return per reason
    reply: str, *, low: float, high: float, cut: bool = False
) -> ParsedScore:
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
        return ParsedScore(None, "empty")
    found = list(_SCORE.finditer(reply))
    if not found or found[-1]["value"] is None:
        return ParsedScore(None, "cut_off" if cut else "no_score")
    last = found[-1]
    if last["more"]:
        return ParsedScore(None, "ambiguous")
    if last["of"] and float(last["of"]) != high:
        return ParsedScore(None, "wrong_scale")
    value = float(last["value"])
    if cut and not last["of"] and last.end() == len(reply.rstrip().rstrip(".,")):
        return ParsedScore(None, "cut_off")
    if not low <= value <= high:
        return ParsedScore(None, "out_of_range")
    return ParsedScore(value, None)


def parse_ranking(reply: str, *, cut: bool = False) -> Preference:
    """Read a reply to the AlpacaEval ranking prompt: which of model_1 and model_2 has rank 1.

    The reply is searched, never executed. Both models must be ranked, once, with different ranks.
    """
    if not reply.strip():
        return Preference(None, "empty")
    found = [(match["name"], match["rank"]) for match in _RANK.finditer(reply)]
    ranks = dict(found)
    if not found:
        return Preference(None, "cut_off" if cut else "no_score")
    if set(ranks) != {"model_1", "model_2"} or len(found) != len(ranks):
        return Preference(None, "cut_off" if cut and len(found) < 2 else "ambiguous")  # noqa: PLR2004
    if set(ranks.values()) != {"1", "2"}:
        return Preference(None, "out_of_range")
    return Preference(1 if ranks["model_1"] == "1" else 2, None)
