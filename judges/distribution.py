"""Reading a judgment as a distribution: the probabilities of the verdicts that could stand there.

A small judge says the same score nearly always, and its draws differ by chance. What it would have
said with which probability says more, and ties hardly occur. The judge writes its own words first;
then the probabilities of all verdicts are read at the place where the verdict stands, or where it
would stand behind a lead ("Score: ") if the words have none.

A local judge scores each verdict there. An API returns the most probable tokens of each place;
only a verdict that its words hold can be read.

Source: Liu et al. 2023 (G-Eval, arXiv 2303.16634), equation 1; arXiv 2503.03064 on the mean of the
judgment distribution.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from core.completions import token_probabilities
from core.errors import ConfigError
from core.thinking import after_thought
from engines.engine import Continuation
from judges.replies import HIGHEST_RATING, LOWEST_RATING, SCORE, Parsed, ScoreForm

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.records import Message
    from engines.engine import Engine
    from judges.asking import Reply

LEAST_MASS = 0.5
"""Probability that the verdicts must have together: below, the judge said something else, and which
of them is less improbable is no verdict."""
TOP_LOGPROBS = 20  # the most that OpenAI's API returns for each place
WEIGHED_AT_ONCE = 64  # replies scored by one call: enough to fill a batch, few to lose on a kill


_PLACE = r"(?<![^\W_]){label}[*_`]{{0,3}}\s?:[*_`]{{0,3}}\s{{0,2}}{opening}(?=[0-9]|\Z)"
_TWO_DIGITS = 10


class Form(NamedTuple):
    """Where a verdict stands in a reply, and what each possible one is worth.

    `lead` stands before it; `place` finds the lead in a reply's words and captures what follows
    up to the verdict; `verdicts` maps its first characters to values, `close` ends each of them.
    """

    name: str
    lead: str
    place: re.Pattern[str]
    verdicts: Mapping[str, float]
    close: str = ""

    def options(self) -> list[str]:
        """Return what is scored behind the lead."""
        return [f"{verdict}{self.close}" for verdict in self.verdicts]

    def begin(self, words: str) -> str:
        """Return the reply up to its last verdict, with the lead if it has none.

        A thought before the words stays; one without an end is ended before the lead.
        """
        if (at := self.find(words)) is not None:
            return words[:at]
        text = words.rstrip()
        text += "\n</think>" if after_thought(words).unclosed else ""
        return f"{text}\n\n{self.lead}" if text else self.lead

    def find(self, words: str) -> int | None:
        """Return where the last verdict behind a reply's thought begins; None if there is none."""
        said = after_thought(words)
        found = [match.end() for match in self.place.finditer(words)]
        behind = found and found[-1] > len(words) - len(said.text) and not said.unclosed
        return found[-1] if behind else None


def points(low: float, high: float, form: ScoreForm = SCORE) -> Form:
    """Return the form of a rubric's whole scores: "Score: 4".

    Raises:
        ConfigError: scores of two digits without brackets: "1" would stand for "10", too.
    """
    if high >= _TWO_DIGITS and not form.brackets:
        message = (
            f"reading = 'expected' cannot tell a 1 from a 10 behind '{form.lead}'; let the "
            f"rubric's header say 'Form: {form.label}: [[<score>]]' and its text ask for that"
        )
        raise ConfigError(message)
    verdicts = {f"{value}": float(value) for value in range(math.ceil(low), math.floor(high) + 1)}
    opening = r"\[\[" if form.brackets else ""
    place = _PLACE.format(label=re.escape(form.label), opening=opening)
    name = f"points {low:g} to {high:g}" + ("" if form == SCORE else f" behind {form.lead}")
    return Form(name, form.lead, re.compile(place, re.IGNORECASE), verdicts, form.close)


RATING = Form(
    "rating",
    "Rating: [[",
    re.compile(r"\[\[(?=[0-9]|\Z)"),
    {f"{value}": float(value) for value in range(int(LOWEST_RATING), int(HIGHEST_RATING) + 1)},
    "]]",
)
"""FastChat's ratings, "[[1]]" to "[[10]]"."""
WINNER = Form("winner", "[[", re.compile(r"\[\[(?=[ABC]|\Z)"), {"A": 1.0, "B": 0.0, "C": 0.5}, "]]")
"""FastChat's verdicts, worth the probability that the answer shown first is better."""


class Distribution(NamedTuple):
    """The probabilities of a form's verdicts, in its order; `mass` is their sum."""

    chances: dict[str, float]
    mass: float
    mean: float


def distribution(form: Form, weights: Mapping[str, float]) -> Distribution | None:
    """Return the normalised distribution of probabilities by verdict; None if all are 0."""
    mass = math.fsum(weights.get(verdict, 0.0) for verdict in form.verdicts)
    if not mass > 0:
        return None
    chances = {verdict: weights.get(verdict, 0.0) / mass for verdict in form.verdicts}
    mean = math.fsum(chances[verdict] * value for verdict, value in form.verdicts.items())
    return Distribution(chances, min(mass, 1.0), mean)


def read_distribution(reply: Reply, form: Form) -> Parsed[Distribution]:
    """Read a reply's distribution from its log-probabilities (`judges.asking.Reply`).

    None with the reason: "no_logprobs" (the judge returned none), "cut_off", "empty" or "no_score"
    (words without a verdict, which only a local judge can be made to add), "no_verdict_token" (the
    verdicts have less than half of the probability together).
    """
    if reply.logprobs is None:
        return Parsed(None, "no_logprobs")
    place = form.find(reply.text)
    at = None if place is None else _token_at(reply.logprobs, place)
    if at is None:
        cut = reply.finish == "length"
        return Parsed(None, "cut_off" if cut else "no_score" if reply.text.strip() else "empty")
    weights: dict[str, float] = {}
    for token, probability in token_probabilities({"logprobs": reply.logprobs}, at):
        verdict = token.strip().lstrip("[").rstrip("]")
        weights[verdict] = weights.get(verdict, 0.0) + probability
    read = distribution(form, weights)
    if read is None or read.mass < LEAST_MASS:
        return Parsed(None, "no_verdict_token")
    return Parsed(read, None)


def _token_at(logprobs: Mapping[str, object], place: int) -> int | None:
    """Return the number of the token whose text covers a place of the reply."""
    content, passed = logprobs.get("content"), 0
    for number, token in enumerate(content if isinstance(content, list) else []):
        passed += len(str(token.get("token", ""))) if isinstance(token, dict) else 0
        if passed > place:
            return number
    return None


class Spoken(NamedTuple):
    """A judge's own words to a request, and the form of its verdict."""

    messages: Sequence[Message]
    words: str
    form: Form


class Weighed(NamedTuple):
    """Words that hold a verdict, and log-probabilities in the OpenAI form that go with them."""

    text: str
    logprobs: dict[str, Any]


def weigh_verdicts(engine: Engine, spoken: Sequence[Spoken]) -> list[Weighed]:
    """Score all verdicts behind each judge's own words.

    Words without a verdict are continued to one: by the lead and the most probable verdict.
    """
    begun = [one.form.begin(one.words) for one in spoken]
    wanted = [
        Continuation(tuple(one.messages), option, begin)
        for one, begin in zip(spoken, begun, strict=True)
        for option in one.form.options()
    ]
    scored = iter(engine.score(wanted))
    return [
        _weighed(one, begin, [next(scored).total for _ in one.form.verdicts])
        for one, begin in zip(spoken, begun, strict=True)
    ]


def _weighed(one: Spoken, begin: str, totals: Sequence[float]) -> Weighed:
    top = sorted(zip(one.form.verdicts, totals, strict=True), key=lambda found: -found[1])
    listed = [{"token": verdict, "logprob": logprob} for verdict, logprob in top]
    content = [
        {"token": begin, "logprob": 0.0, "top_logprobs": []},
        {**listed[0], "top_logprobs": listed},
    ]
    said = one.words.startswith(begin) and len(one.words) > len(begin)
    text = one.words if said else f"{begin}{listed[0]['token']}{one.form.close}"
    return Weighed(text, {"content": content})
