"""LLM-as-a-Judge with an absolute score: k draws per answer, averaged (paper, section 2.2)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from core.progress import track
from core.records import Judgment, RankedPrompt, user
from core.store import Built, Partial
from engines.engine import Decoding, Engine, Request, Sampled
from judges.replies import Parsed, parse_score
from judges.rubrics import Rubric, load_rubric

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from core.config import JudgeSection


class JudgedAnswer(NamedTuple):
    """An answer to be judged, and its instruction."""

    key: str
    prompt_key: str
    prompt: str
    response: str


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
    for sampled in engine.sample(requests, decoding):
        yield read_judgment(sampled, by_key[sampled.key], rubric)


def judgment_key(subject_key: str, draw: int) -> str:
    """Return the key of one draw's judgment."""
    return f"{subject_key}/j{draw}"


def read_judgment(sampled: Sampled, subject: JudgedAnswer, rubric: Rubric) -> Judgment:
    """Parse one judge reply into a judgment; a prompt too long for the judge is an outcome too."""
    if sampled.finish == "too_long":
        score = Parsed[float](None, "prompt_too_long")
    else:
        cut = sampled.finish == "length"
        score = parse_score(sampled.text, low=rubric.low, high=rubric.high, cut=cut)
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
    unparsed = Counter(f"unparsed_{j.unparsed}" for j in out.rows.values() if j.unparsed)
    parsed = len(out.rows) - sum(unparsed.values())
    return Built(counts={"parsed": parsed, **unparsed}, engine=engine.fingerprint)


def of_split(
    prompts: Iterable[RankedPrompt], split: str, limit: int | None = None
) -> list[RankedPrompt]:
    """Return the prompts of one split, at most `limit`, in the order of their keys."""
    return sorted((p for p in prompts if p.split == split), key=lambda p: p.key)[:limit]
