"""What a model has learned to prefer: log M_{k-1}/M_{k-2} of the answers (SCIR, arXiv 2502.08922).

DPO's own reward of an answer is β·log π/π_ref. Where it orders two answers otherwise than the model
does as a judge, one of the two is wrong about them.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Literal

from core.progress import track
from core.records import ANSWERED, AnswerLogProb
from core.store import Built
from engines.engine import Continuation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from core.records import Candidate, Message, Prompt
    from core.store import Partial
    from engines.engine import Engine

_AT_ONCE = 64  # answers between two writes: what a killed command loses


def score_answers(
    models: Mapping[Literal["current", "previous"], Callable[[], Engine]],
    prompts: Sequence[Prompt],
    candidates: Sequence[Candidate],
    out: Partial,
) -> Built:
    """Write the log-probability of each answer under both models, one model after the other."""
    asked = {prompt.key: tuple(prompt.messages) for prompt in prompts}
    answers = [c for c in candidates if c.finish in ANSWERED]
    fingerprints = []
    with track("implicit rewards", 2 * len(answers), resumed=len(out.rows)) as advance:
        for name, opened in models.items():
            missing = [c for c in answers if f"{c.key}/{name}" not in out.rows]
            engine = opened()
            fingerprints.append(engine.fingerprint)
            for start in range(0, len(missing), _AT_ONCE):
                some = missing[start : start + _AT_ONCE]
                for row in _scored(engine, name, some, asked):
                    out.add(row)
                    advance(tokens=row.length)
    return Built(counts={"answers": len(answers)}, engine=fingerprints[0])


def _scored(
    engine: Engine,
    name: Literal["current", "previous"],
    answers: Sequence[Candidate],
    asked: Mapping[str, tuple[Message, ...]],
) -> Iterable[AnswerLogProb]:
    """Yield the answers' rows; an empty answer has no tokens."""
    written = [c for c in answers if c.text]
    requests = [Continuation(asked[c.prompt_key], c.text) for c in written]
    found = dict(zip((c.key for c in written), engine.score(requests), strict=True))
    for c in answers:
        total, length = (found[c.key].total, found[c.key].tokens) if c.text else (0.0, 0)
        yield AnswerLogProb(f"{c.key}/{name}", c.key, name, total, length)


def rewards(rows: Iterable[AnswerLogProb]) -> dict[str, float]:
    """Return log M_{k-1}/M_{k-2} of each answer that both have scored."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for row in rows:
        found[row.candidate_key][row.model] = row.total
    return {
        key: each["current"] - each["previous"]
        for key, each in found.items()
        if each.keys() == {"current", "previous"}
    }
