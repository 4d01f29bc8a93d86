"""LLM-as-a-Judge with an absolute score: k draws per answer, averaged (paper, section 2.2)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from core.progress import track
from core.records import Judgment, RankedPrompt, user
from core.store import Built, Partial
from engines.engine import Decoding, Engine, Request, Sampled
from judges.asking import Reply
from judges.distribution import (
    WEIGHED_AT_ONCE,
    Form,
    Spoken,
    points,
    read_distribution,
    weigh_verdicts,
)
from judges.replies import Parsed, parse_score
from judges.rubrics import Rubric, load_rubric

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from core.config import JudgeSection
    from core.records import Candidate, Message, Prompt

_DIGITS = 6  # of recorded probabilities


class JudgedAnswer(NamedTuple):
    """An answer to be judged, and its instruction.

    `before`: the turns before the instruction, which `prompt` holds as one text, too.
    """

    key: str
    prompt_key: str
    prompt: str
    response: str
    before: tuple[Message, ...] = ()
    last: str = ""

    @classmethod
    def of(cls, prompt: Prompt, candidate: Candidate) -> JudgedAnswer:
        """Return a candidate as the answer to its prompt."""
        names = (candidate.key, prompt.key, prompt.transcript, candidate.text)
        return cls(*names, prompt.before, prompt.text)

    @property
    def conversation(self) -> list[Message]:
        """The whole conversation: earlier turns, instruction and answer."""
        asked = user(self.last or self.prompt)
        return [*self.before, *asked, {"role": "assistant", "content": self.response}]


def judge_answers(
    engine: Engine,
    subjects: Sequence[JudgedAnswer],
    section: JudgeSection,
    *,
    seed: int,
    draws: int | None = None,
    done: Collection[str] = (),
) -> Iterator[Judgment]:
    """Yield one judgment per subject and draw, leaving out the keys in `done`."""
    rubric = load_rubric(section.rubric)
    decoding = Decoding(section.temperature, section.top_p, section.max_new_tokens, seed)
    by_key = {subject.key: subject for subject in subjects}
    requests = []
    for subject in subjects:
        wanted = range(section.draws if draws is None else draws)
        missing = tuple(d for d in wanted if judgment_key(subject.key, d) not in done)
        if missing:
            messages = user(rubric.render(subject.prompt, subject.response))
            requests.append(Request(subject.key, messages, missing))
    if section.reading == "words":
        for sampled in engine.sample(requests, decoding):
            yield read_judgment(sampled, by_key[sampled.key], rubric)
        return
    form, spoken = points(rubric.low, rubric.high, rubric.form), list[Sampled]()
    for sampled in engine.sample(requests, decoding):
        if sampled.finish == "too_long":
            yield read_judgment(sampled, by_key[sampled.key], rubric)
            continue
        spoken.append(sampled)
        if len(spoken) == WEIGHED_AT_ONCE:
            yield from _expected(engine, spoken, by_key, rubric, form)
            spoken = []
    if spoken:
        yield from _expected(engine, spoken, by_key, rubric, form)


def _expected(
    engine: Engine,
    spoken: Sequence[Sampled],
    subjects: Mapping[str, JudgedAnswer],
    rubric: Rubric,
    form: Form,
) -> Iterator[Judgment]:
    """Yield the judgments whose scores are the means of the distributions behind the words."""
    wanted = [
        Spoken(user(rubric.render(subjects[s.key].prompt, subjects[s.key].response)), s.text, form)
        for s in spoken
    ]
    for sampled, found in zip(spoken, weigh_verdicts(engine, wanted), strict=True):
        in_words = read_judgment(sampled, subjects[sampled.key], rubric)
        yield expected(in_words, Reply("", found.text, "stop", logprobs=found.logprobs), form)


def expected(in_words: Judgment, reply: Reply, form: Form) -> Judgment:
    """Return a judgment read in words with the mean of its reply's distribution as the score."""
    read = read_distribution(reply, form)
    said = in_words.score
    if read.value is None:
        return replace(in_words, score=None, unparsed=read.unparsed, chances={}, in_words=said)
    chances = {verdict: round(p, _DIGITS) for verdict, p in read.value.chances.items()}
    return replace(in_words, score=read.value.mean, unparsed=None, chances=chances, in_words=said)


def judgment_key(subject_key: str, draw: int) -> str:
    """Return the key of one draw's judgment."""
    return f"{subject_key}/j{draw}"


def read_judgment(sampled: Sampled, subject: JudgedAnswer, rubric: Rubric) -> Judgment:
    """Parse one judge reply into a judgment; a prompt too long for the judge is an outcome too."""
    if sampled.finish == "too_long":
        score = Parsed[float](None, "prompt_too_long")
    else:
        cut = sampled.finish == "length"
        low, high, form = rubric.low, rubric.high, rubric.form
        score = parse_score(sampled.text, low=low, high=high, cut=cut, form=form)
    return Judgment(
        key=judgment_key(subject.key, sampled.draw),
        subject_key=subject.key,
        prompt_key=subject.prompt_key,
        draw=sampled.draw,
        reply=sampled.text,
        score=score.value,
        unparsed=score.unparsed,
        tokens=sampled.tokens,
        cut=sampled.finish == "length",
    )


def judge_ranked(
    engine: Engine,
    prompts: Sequence[RankedPrompt],
    section: JudgeSection,
    *,
    draws: int,
    seed: int,
    title: str,
    out: Partial,
) -> Built:
    """Write `draws` judgments of every reply of the given prompts."""
    subjects = [JudgedAnswer(r.key, p.key, p.prompt, r.text) for p in prompts for r in p.replies]
    with track(title, len(subjects) * draws, resumed=len(out.rows)) as advance:
        for judgment in judge_answers(
            engine, subjects, section, seed=seed, draws=draws, done=out.rows
        ):
            out.add(judgment)
            advance(tokens=judgment.tokens)
    return Built(counts=reading_counts(out.rows.values()), engine=engine.fingerprint)


def reading_counts(judgments: Iterable[Judgment]) -> dict[str, int]:
    """Return how many replies hold a score in their words, were continued to one, or have none.

    They add up to the replies: "parsed", "continued" (`judge.reading`), "unparsed_<reason>".
    """
    counts = Counter(
        f"unparsed_{j.unparsed}" if j.unparsed else "continued" if j.said is None else "parsed"
        for j in judgments
    )
    return {"parsed": counts.pop("parsed", 0), **counts}


def of_split(
    prompts: Iterable[RankedPrompt], split: str, limit: int | None = None
) -> list[RankedPrompt]:
    """Return the prompts of one split, at most `limit`, in the order of their keys."""
    return sorted((p for p in prompts if p.split == split), key=lambda p: p.key)[:limit]
