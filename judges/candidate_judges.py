"""Judges of candidate answers: whatever gives each answer a score, behind one call.

A language model that follows a rubric, in this process or behind an API; a reward model; a program
that knows the right answer. All of them write the same rows: a reward or a program's decision is a
judgment whose score needs no parsing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from core.progress import track
from core.records import Judgment, user
from core.sections import PACKAGED_RUBRICS
from core.store import Built
from engines.engine import Sampled
from judges.asking import Ask, settle_failures
from judges.backends.recorded import reply_facts
from judges.distribution import points
from judges.pointwise import (
    JudgedAnswer,
    expected,
    judge_answers,
    judgment_key,
    read_judgment,
    reading_counts,
)
from judges.rubrics import load_rubric

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from core.config import JudgeSection
    from core.store import Partial
    from engines.engine import Engine
    from engines.reward_model import RewardModel
    from judges.asking import Judge, Reply
    from judges.verifiers import Verdict

RIGHT_OR_WRONG = (0.0, 1.0)
"""The scores of a verifier."""


class CandidateJudge(Protocol):
    """Interface of every judge of candidates.

    `draws`: judgments of each answer. `identity`: what determines them, for the manifest.
    """

    @property
    def draws(self) -> int:
        """How many judgments each answer gets."""
        ...

    @property
    def identity(self) -> str:
        """What determines the judgments besides what is judged."""
        ...

    def score_candidates(
        self, subjects: Sequence[JudgedAnswer], *, done: Collection[str] = ()
    ) -> Iterator[Judgment]:
        """Yield the judgments of the answers, in no particular order, but those in `done`."""
        ...

    def facts(self, subjects: Sequence[JudgedAnswer]) -> dict[str, Any]:
        """Return what the manifest should say of all judgments of these answers."""
        ...


def write_judgments(
    judge: CandidateJudge, subjects: Sequence[JudgedAnswer], *, title: str, out: Partial
) -> Built:
    """Write a judge's judgments of answers, those that are not there; raises as the judge."""
    with track(title, len(subjects) * judge.draws, resumed=len(out.rows)) as advance:
        for judgment in judge.score_candidates(subjects, done=out.rows):
            out.add(judgment)
            advance(tokens=judgment.tokens)
    counts, facts = reading_counts(out.rows.values()), judge.facts(subjects)
    return Built(counts=counts, facts=facts, engine=judge.identity)


class RubricJudge:
    """A language model on this machine that follows `judge.rubric`."""

    def __init__(self, engine: Engine, section: JudgeSection, *, seed: int) -> None:
        self._engine, self._section, self._seed = engine, section, seed
        self.draws, self.identity = section.draws, engine.fingerprint

    def score_candidates(
        self, subjects: Sequence[JudgedAnswer], *, done: Collection[str] = ()
    ) -> Iterator[Judgment]:
        """Yield `judge.draws` judgments of each answer."""
        yield from judge_answers(self._engine, subjects, self._section, seed=self._seed, done=done)

    def facts(self, subjects: Sequence[JudgedAnswer]) -> dict[str, Any]:  # noqa: ARG002
        """Return the range of a rubric of one's own, whose file may go."""
        return _own_scale(self._section.rubric)


class ExternalRubricJudge:
    """A judge behind an API (or recorded) that follows a rubric.

    Refusals ("refused") and permanently failed requests ("failed", at most a share
    `allowed_failures`) are judgments without a score.
    """

    def __init__(
        self,
        judge: Judge,
        section: JudgeSection,
        *,
        reading: str,
        allowed_failures: float,
        draws: int | None = None,
    ) -> None:
        """`reading`: as `evaluation.judge.reading`; `draws`: instead of `judge.draws`."""
        self._judge, self._section, self._allowed = judge, section, allowed_failures
        self._rubric = rubric = load_rubric(section.rubric)
        words = reading == "words"
        self._form = None if words else points(rubric.low, rubric.high, rubric.form)
        self.draws = section.draws if draws is None else draws
        self.identity = judge.identity

    def score_candidates(
        self, subjects: Sequence[JudgedAnswer], *, done: Collection[str] = ()
    ) -> Iterator[Judgment]:
        """Yield the judgment of each reply as it arrives; those of failed requests come last.

        Raises:
            JudgeFailed: more requests failed than is allowed; received replies are kept.
        """
        asked = self._asked(subjects)
        failures = []
        for reply in self._judge.ask([one.ask for key, one in asked.items() if key not in done]):
            if reply.finish == "failed":
                failures.append(reply)
            else:
                yield self._judgment(reply, asked[reply.key])
        settle_failures(failures, len(asked), allowed_share=self._allowed)
        for reply in failures:
            yield self._judgment(reply, asked[reply.key])

    def facts(self, subjects: Sequence[JudgedAnswer]) -> dict[str, Any]:
        """Return who answered, and what was adapted, from the recordings."""
        asks = [one.ask for one in self._asked(subjects).values()]
        return reply_facts(self._judge, asks) | _own_scale(self._section.rubric)

    def _asked(self, subjects: Sequence[JudgedAnswer]) -> dict[str, _Asked]:
        section, asked = self._section, {}
        for subject in subjects:
            messages = tuple(user(self._rubric.render(subject.prompt, subject.response)))
            for draw in range(self.draws):
                key = judgment_key(subject.key, draw)
                how = (section.max_new_tokens, section.temperature, section.top_p, draw)
                asked[key] = _Asked(Ask(key, messages, *how, form=self._form), subject)
        return asked

    def _judgment(self, reply: Reply, asked: _Asked) -> Judgment:
        (ask, subject), finish = asked, reply.finish
        if finish == "refused" or finish == "failed":  # noqa: PLR1714 - mypy narrows this one only
            names = (reply.key, subject.key, subject.prompt_key, ask.draw)
            return Judgment(*names, reply.text, None, finish, reply.tokens_out)
        sampled = Sampled(subject.key, ask.draw, reply.text, reply.tokens_out, finish)
        read = read_judgment(sampled, subject, self._rubric)
        if self._form is None or finish == "too_long":
            return read
        return expected(read, reply, self._form)


def _own_scale(name: str) -> dict[str, Any]:
    return {} if name in PACKAGED_RUBRICS else {"scale": list(load_rubric(name).scale)}


class _Asked(NamedTuple):
    """A request and the answer that it is about."""

    ask: Ask
    subject: JudgedAnswer


class RewardJudge:
    """A reward model: one judgment of each answer, an unbounded score without words."""

    draws = 1

    def __init__(self, model: RewardModel) -> None:
        self._model, self.identity = model, model.fingerprint

    def score_candidates(
        self, subjects: Sequence[JudgedAnswer], *, done: Collection[str] = ()
    ) -> Iterator[Judgment]:
        """Yield the score of each answer behind its prompt, in batches.

        An answer that does not fit the window ("prompt_too_long") and a score that is no number
        ("not_finite") leave none.
        """
        left = [one for one in subjects if judgment_key(one.key, 0) not in done]
        for place, score, tokens in self._model.score([one.conversation for one in left]):
            unparsed = "prompt_too_long" if score is None else None
            if score is not None and not math.isfinite(score):
                score, unparsed = None, "not_finite"  # noqa: PLW2901
            yield _judgment(left[place], "", score, unparsed, tokens)

    def facts(self, subjects: Sequence[JudgedAnswer]) -> dict[str, Any]:  # noqa: ARG002
        """Return that the scores have no bounds."""
        return {"scale": None}


class VerifierJudge:
    """A program that knows what is right: 1 for a right answer, 0 for a wrong one."""

    draws = 1
    identity = "verifier"

    def __init__(self, checks: Mapping[str, Callable[[str], Verdict]]) -> None:
        """`checks`: by the prompt's text, as of `judges.verifiers.read_checks`."""
        self._checks = checks

    def score_candidates(
        self, subjects: Sequence[JudgedAnswer], *, done: Collection[str] = ()
    ) -> Iterator[Judgment]:
        """Yield each answer's decision, with what was found; "not_checkable" without a check."""
        for subject in subjects:
            if judgment_key(subject.key, 0) in done:
                continue
            verify = self._checks.get((subject.last or subject.prompt).strip())
            if verify is None:
                yield _judgment(subject, "", None, "not_checkable", 0)
            else:
                right, found = verify(subject.response)
                yield _judgment(subject, found, RIGHT_OR_WRONG[right], None, 0)

    def facts(self, subjects: Sequence[JudgedAnswer]) -> dict[str, Any]:  # noqa: ARG002
        """Return the scores that there are."""
        return {"scale": list(RIGHT_OR_WRONG)}


def _judgment(
    subject: JudgedAnswer, reply: str, score: float | None, unparsed: str | None, tokens: int
) -> Judgment:
    key = judgment_key(subject.key, 0)
    return Judgment(key, subject.key, subject.prompt_key, 0, reply, score, unparsed, tokens)
