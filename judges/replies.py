"""Parsing judge replies: a score, rating, ranking or winner, or the reason why there is none.

Only the judge's own text is parsed, never the prompt: a "Score: 5" inside the judged answer must
not count. An unparsable reply is never a 0, a tie or a loss.

Nor is a thought parsed (core/thinking.py): everything up to the last `</think>` goes first. A
thought that does not end leaves nothing to parse: "cut_off", or "empty" where the reply is not cut.
A reply cut by the token limit with different verdicts in it ("Score: 1" for one criterion, "Score:
0" for the next) was cut before its last one: "cut_off" too. Every expression here takes time
linear in the reply's length.

Ratings and winners have FastChat's formats: "[[7]]", else "[7]", and "[[A]]", "[[B]]", "[[C]]".
FastChat takes the first rating of a reply and prefers [[A]] to [[B]] wherever they stand; here the
last one counts, because a judge quotes "[[10]]" from the answer, or discusses a matrix ("[[1]]"),
before its verdict. Where a reply holds one rating, as all recorded ones do, both rules agree. The
prompt's own example of the format, repeated in a reply, is ignored.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Generic, Literal, NamedTuple, TypeVar

from core.thinking import after_thought

T = TypeVar("T")

Winner = Literal["A", "B", "tie"]
Reason = Literal[
    "empty", "no_score", "out_of_range", "wrong_scale", "ambiguous", "cut_off", "prompt_too_long",
    "refused", "no_logprobs", "no_verdict_token", "not_finite", "not_checkable",
]  # fmt: skip

LOWEST_RATING, HIGHEST_RATING = 1.0, 10.0
PARSING = {"parsing": "0.2"}
"""Part of the key of what the external judge decided: verdicts parsed by an earlier release's rules
are stale, and are parsed again from the cassette without asking anew."""


class ScoreForm(NamedTuple):
    """How a reply states its score: "Score: 4", or with `brackets` "Rating: [[4]]"."""

    label: str
    brackets: bool = False

    @property
    def lead(self) -> str:
        """What stands before the number."""
        return f"{self.label}: [[" if self.brackets else f"{self.label}: "

    @property
    def close(self) -> str:
        """What stands behind it."""
        return "]]" if self.brackets else ""

    def write(self, score: float) -> str:
        """Return a score as a reply states it."""
        return f"{self.lead}{score:g}{self.close}"


SCORE = ScoreForm("Score")

# Read: "Score: 4", "**Score:** 4/5", "score : **3.5** out of 5". Recognised so that they count as
# the last score, then refused: "Score: 3-4", "Score: 1+1+1", "Score: four", "Score: <points>",
# "Score:" at the end. A colon followed by other words ("the score: a fair one") is prose.
_LABELLED = r"""(?<![^\W_])(?<![^\W_]_)LABEL[*_`\s]*:  # the label, a colon, Markdown marks around
        (?:[*_`]|[^\S\n])*+                         # ... on one line with the number, or above it,
        (?:\n[*_`\s]*+(?![0-9]+[.)][^\S\n]))?+      # ... but not above a list: "1. Relevant"
        OPEN
        (?:
            (?P<value>[-+]?[0-9]+(?:\.[0-9]+)?)     # the number
            (?![^\W_]|[.,_][0-9])                   # ... whole: not the start of something longer
            (?:[*_`\s]*(?:/|out\s+of)[*_`\s]*(?P<of>[0-9]+(?:\.[0-9]+)?))?       # "/5", "out of 5"
            (?P<more>[*_`]*[^\S\n]*(?:[-–—~+=]|to\b|or\b)[^\S\n]*[*_`]*[0-9])?  # "-4", "or 4"
          |(?=[^\w\n]{0,3}[0-9]|<|(?:zero|one|two|three|four|five)\b|\Z)         # not a number
        )
    """


@lru_cache(maxsize=16)
def _stated(form: ScoreForm) -> re.Pattern[str]:
    """Return the expression that finds a form's scores."""
    opening = r"(?:\[\[[^\S\n]*+)?+" if form.brackets else ""
    text = _LABELLED.replace("LABEL", re.escape(form.label)).replace("OPEN", opening)
    return re.compile(text, re.IGNORECASE | re.VERBOSE)


_RANK = re.compile(
    r"""['"]model['"]\s*:\s*['"](?P<name>[^'"]+)['"]\s*,\s*['"]rank['"]\s*:\s*['"]?(?P<rank>[0-9]+)"""
)
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?")
_DOUBLE = re.compile(r"\[\[([^\[\]\n]*)\]\]")
_DIGIT = re.compile(r"[0-9]")
_SINGLE = re.compile(rf"\[({_NUMBER.pattern})\]")
_WINNER = re.compile(r"\[\[([ABC])\]\]")
_UNFINISHED = re.compile(r"\[\[[^\[\]\n]*\]?\Z")
# The prompts' examples, where a judge repeats them verbatim.
_RATING_EXAMPLE = re.compile(r"for\s+example:\W*Rating:\s*\[\[5\]\]", re.IGNORECASE)
_WINNER_EXAMPLE = re.compile(
    r"\[\[A\]\]\W+if\s+assistant\s+A\s+is\s+better\W+\[\[B\]\]\W+if\s+assistant\s+B\s+is\s+better"
    r"\W+and\W+\[\[C\]\]\W+for\s+a\s+tie",
    re.IGNORECASE,
)
_ARENA = re.compile(r"\[\[(A>>B|A>B|A=B|B>A|B>>A)\]\]")
_SIDES: dict[str, Winner] = {"A": "A", "B": "B", "C": "tie"}


class Parsed(NamedTuple, Generic[T]):
    """What a reply says, or why it cannot be parsed; exactly one of the two is None."""

    value: T | None
    unparsed: Reason | None


def parse_score(  # noqa: PLR0911 - one return per reason
    reply: str, *, low: float, high: float, cut: bool = False, form: ScoreForm = SCORE
) -> Parsed[float]:
    """Read the last "Score: x" of a judge's reply, or the last score of another `form`.

    The last one counts even if it is unusable: falling back to an earlier one could return a quoted
    score. A reply `cut` off by the token limit right behind a number is refused, because the
    number may have had more digits.

    Args:
        reply: the judge's text, without the prompt.
        low: least valid score.
        high: greatest valid score; also the only scale accepted in "4/5".
        cut: whether the reply was cut off by the token limit.
        form: how the reply states its score.
    """
    text = after_thought(reply).text
    if not text.strip():
        return Parsed(None, "cut_off" if cut else "empty")
    found = list(_stated(form).finditer(text))
    if not found or found[-1]["value"] is None:
        return Parsed(None, "cut_off" if cut else "no_score")
    last = found[-1]
    if last["more"]:
        return Parsed(None, "ambiguous")
    if last["of"] and float(last["of"]) != high:
        return Parsed(None, "wrong_scale")
    value = float(last["value"])
    if cut and not last["of"] and last.end() == len(text.rstrip().rstrip(".,")):
        return Parsed(None, "cut_off")
    if cut and any(score["value"] and float(score["value"]) != value for score in found):
        return Parsed(None, "cut_off")
    if not low <= value <= high:
        return Parsed(None, "out_of_range")
    return Parsed(value, None)


def parse_ranking(reply: str, *, cut: bool = False) -> Parsed[Literal[1, 2]]:
    """Read a reply to the AlpacaEval ranking prompt: which of model_1 and model_2 has rank 1.

    The reply is searched, never executed. Both models must be ranked, once, with different ranks.
    """
    text = after_thought(reply).text
    if not text.strip():
        return Parsed(None, "cut_off" if cut else "empty")
    found = [(match["name"], match["rank"]) for match in _RANK.finditer(text)]
    ranks = dict(found)
    if not found:
        return Parsed(None, "cut_off" if cut else "no_score")
    if set(ranks) != {"model_1", "model_2"} or len(found) != len(ranks):
        return Parsed(None, "cut_off" if cut and len(found) < 2 else "ambiguous")  # noqa: PLR2004
    if set(ranks.values()) != {"1", "2"}:
        return Parsed(None, "out_of_range")
    return Parsed(1 if ranks["model_1"] == "1" else 2, None)


def parse_rating(  # noqa: PLR0911 - one return per reason
    reply: str, *, cut: bool = False
) -> Parsed[float]:
    """Read a rating in 1..10: a reply's last "[[x]]" or, without such a number, its last "[x]".

    A later "[[8/10]]" or "[[7-8]]" makes the reply ambiguous rather than reviving an earlier
    number. A reply `cut` off by the token limit inside its last brackets has no rating.
    """
    text = after_thought(reply).text
    if not text.strip():
        return Parsed(None, "cut_off" if cut else "empty")
    if cut and _UNFINISHED.search(text):
        return Parsed(None, "cut_off")
    words = _RATING_EXAMPLE.sub("", text)
    double = [found for found in _DOUBLE.findall(words) if _DIGIT.search(found)]
    numbers = [found for found in double if _NUMBER.fullmatch(found)]
    if numbers and numbers[-1] != double[-1]:
        return Parsed(None, "ambiguous")
    numbers = numbers or _SINGLE.findall(words)
    if not numbers:
        return Parsed(None, "cut_off" if cut else "no_score")
    value = float(numbers[-1])
    if cut and any(float(found) != value for found in numbers):
        return Parsed(None, "cut_off")
    if not LOWEST_RATING <= value <= HIGHEST_RATING:
        return Parsed(None, "out_of_range")
    return Parsed(value, None)


def parse_pair(reply: str, *, cut: bool = False) -> Parsed[Winner]:
    """Read the last "[[A]]", "[[B]]" or "[[C]]" (a tie): the better of the two answers shown."""
    found = _last_verdict(reply, _WINNER, cut=cut)
    return Parsed(None if found.value is None else _SIDES[found.value], found.unparsed)


def parse_arena(reply: str, *, cut: bool = False) -> Parsed[str]:
    """Read Arena-Hard's last "[[A>>B]]", "[[A>B]]", "[[A=B]]", "[[B>A]]" or "[[B>>A]]"."""
    return _last_verdict(reply, _ARENA, cut=cut)


def _last_verdict(reply: str, verdict: re.Pattern[str], *, cut: bool) -> Parsed[str]:
    text = after_thought(reply).text
    if not text.strip():
        return Parsed(None, "cut_off" if cut else "empty")
    if cut and _UNFINISHED.search(text):
        return Parsed(None, "cut_off")
    found = verdict.findall(_WINNER_EXAMPLE.sub("", text))
    if cut and len(set(found)) > 1:
        return Parsed(None, "cut_off")
    if not found:
        return Parsed(None, "cut_off" if cut else "no_score")
    return Parsed(found[-1], None)
