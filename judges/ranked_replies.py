"""Judging human-ranked replies by a model: for EFT data, as a probe, and as a benchmark."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from core.progress import track
from core.store import Built
from judges.pointwise import JudgedAnswer, judge_answers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from core.config import JudgeSection
    from core.records import RankedPrompt
    from core.store import Partial
    from engines.engine import Engine


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
