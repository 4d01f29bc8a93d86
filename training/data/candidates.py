"""Candidate answers: N draws from M_t for each new prompt (paper, section 3.1.3)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from core.progress import track
from core.records import ANSWERED, Candidate
from core.store import Built
from core.thinking import removed
from engines.engine import Decoding, Request, sample_answers
from judges.candidate_judges import write_judgments
from judges.pointwise import JudgedAnswer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from core.config import Config
    from core.records import Prompt
    from core.store import Partial
    from engines.engine import Engine
    from judges.candidate_judges import CandidateJudge


def sample_candidates(
    engine: Engine,
    prompts: Sequence[Prompt],
    config: Config,
    out: Partial,
    *,
    letter: str = "a",
) -> Built:
    """Sample `candidates.n` answers to each prompt, each without the thought before it.

    `letter`: tells the keys of several models' answers to the same prompts.
    """
    section = config.candidates
    decoding = Decoding(section.temperature, section.top_p, section.max_new_tokens, config.seed)
    requests = []
    for prompt in prompts:
        missing = tuple(
            d for d in range(section.n) if candidate_key(prompt.key, d, letter) not in out.rows
        )
        if missing:
            requests.append(Request(prompt.key, prompt.messages, missing))
    with track("candidates", len(prompts) * section.n, resumed=len(out.rows)) as advance:
        for s in sample_answers(engine, requests, decoding):
            key = candidate_key(s.key, s.draw, letter)
            out.add(Candidate(key, s.key, s.draw, s.text, s.tokens, s.finish, s.thought))
            advance(tokens=s.tokens)
    finishes = Counter(f"finish_{c.finish}" for c in out.rows.values())
    lengths = [len(c.text) for c in out.rows.values() if c.finish in ANSWERED]
    return Built(
        counts=dict(finishes) | removed(out.rows.values()),
        facts={"mean_characters": sum(lengths) / len(lengths) if lengths else None},
        engine=engine.fingerprint,
    )


def candidate_key(prompt_key: str, draw: int, letter: str = "a") -> str:
    """Return the key of one draw's candidate."""
    return f"{prompt_key}/{letter}{draw}"


def judged_answers(
    prompts: Iterable[Prompt], candidates: Iterable[Candidate]
) -> list[JudgedAnswer]:
    """Return the candidates that are judged: all but those without an answer."""
    asked = {prompt.key: prompt for prompt in prompts}
    return [JudgedAnswer.of(asked[c.prompt_key], c) for c in candidates if c.finish in ANSWERED]


def judge_candidates(
    judge: CandidateJudge,
    prompts: Sequence[Prompt],
    candidates: Sequence[Candidate],
    out: Partial,
) -> Built:
    """Judge each candidate, except those without an answer."""
    subjects = judged_answers(prompts, candidates)
    built = write_judgments(judge, subjects, title="judgments", out=out)
    not_judged = len(candidates) - len(subjects)
    return replace(built, counts={"candidates_not_judged": not_judged} | built.counts)
