"""The external judge of an evaluation: an API or a model, recorded, within a budget."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from core.errors import ConfigError
from core.progress import track
from judges.asking import settle_failures
from judges.backends.budget import ESTIMATE, FREE, Budget, token_counter
from judges.backends.cassette import Cassette
from judges.backends.local_judge import LocalJudge
from judges.backends.openai_judge import OpenAIJudge, identity_of
from judges.backends.recorded import Recorded, Replayed
from judges.bounds import judge_price

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from core.evaluation_config import JudgeBackendSection
    from core.records import Row
    from core.store import Partial
    from engines.engine import Engine
    from judges.asking import Ask, Judge, Reply

ExternalJudge: TypeAlias = Recorded | Replayed

# The settings that determine the external judge's replies, apart from the request itself.
JUDGED_BY = (
    "evaluation.judge.backend",
    "evaluation.judge.model",
    "evaluation.judge.chat_template_kwargs",
    "evaluation.judge.min_reply_tokens",
    "evaluation.judge.reading",
)


def open_judge(
    section: JudgeBackendSection, file: Path, open_model: Callable[[], Engine], *, seed: int
) -> ExternalJudge:
    """Return the judge that a section describes, recorded in (or replayed from) `file`.

    `open_model` opens the engine of a judge with backend "model".

    Raises:
        ConfigError: no API key, no such model, or a cost limit without a price.
        DataError: the cassette is damaged, or absent where it should be replayed.
    """
    cassette = Cassette(file, read_only=section.replay)
    least = section.min_reply_tokens or 0
    if section.backend == "model":
        local = LocalJudge(open_model(), section.model, seed=seed)
        if section.replay:
            return Replayed(cassette, local.identity, local.name, least_tokens=least)
        # The token count is never used: a local model costs nothing.
        return Recorded(local, cassette, Budget(FREE, ESTIMATE), least_tokens=least)
    if section.replay:
        return Replayed(cassette, identity_of(section), section.model, least_tokens=least)
    judge = OpenAIJudge(section, seed=seed)
    budget = Budget(
        judge_price(section),
        token_counter(section.model),
        limit_usd=section.budget_usd,
        already_usd=cassette.cost_usd(judge.identity),
    )
    return Recorded(judge, cassette, budget, charged=True, least_tokens=least)


def reply_facts(judge: Judge, asks: Sequence[Ask]) -> dict[str, Any]:
    """Return what an artifact's manifest says of the replies behind it, from their recordings.

    judge: its name. answered_by: how many replies came from each model that the server named (a
        snapshot, where the name asked for is an alias). adapted: what was changed in requests
        because the server refuses it. said_nothing: replies cut before their first word.

    `asks` are all requests of the artifact, those that an earlier, killed run sent included. Of a
    judge without recordings only the name is known.
    """
    models: Counter[str] = Counter()
    adapted: dict[str, str | int] = {}
    said_nothing = 0
    if isinstance(judge, Recorded | Replayed):
        for ask in asks:
            if (found := judge.cassette.get(ask.identity(judge.identity))) is not None:
                models.update([found.reply.model] if found.reply.model else [])
                adapted |= found.reply.adapted
                said_nothing += found.reply.says_nothing
    facts = {"answered_by": dict(sorted(models.items())), "adapted": adapted}
    counted = {"said_nothing": said_nothing} if said_nothing else {}
    return {"judge": judge.name} | {name: fact for name, fact in facts.items() if fact} | counted


def judge_folder(name: str) -> Path:
    """Return the model folder that evaluation.judge.model names.

    Raises:
        ConfigError: there is none.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        message = (
            f"evaluation.judge.model = {name!r}: with backend 'model' this is a model of the run "
            "(M0, sft, M1, ...) or an existing model folder"
        )
        raise ConfigError(message)
    return folder


def record_replies(
    judge: Judge,
    asks: Sequence[Ask],
    row_of: Callable[[Reply], Row],
    out: Partial,
    *,
    title: str,
    total: int,
    allowed_failures: float,
) -> None:
    """Write a row for each reply as it arrives; requests that failed permanently come last.

    `total` counts the requests of earlier runs too; up to a share `allowed_failures` of it may
    fail.

    Raises:
        JudgeFailed: more failed; received replies are kept.
    """
    failures = []
    with track(title, total, resumed=total - len(asks)) as advance:
        for reply in judge.ask(asks):
            if reply.finish == "failed":
                failures.append(reply)
            else:
                out.add(row_of(reply))
            advance(tokens=reply.tokens_out)
    settle_failures(failures, total, allowed_share=allowed_failures)
    for failed in failures:
        out.add(row_of(failed))
