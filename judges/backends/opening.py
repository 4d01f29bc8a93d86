"""The external judge that a configuration section describes, recorded and within its budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from judges.backends.budget import ESTIMATE, FREE, Budget, token_counter
from judges.backends.cassette import Cassette
from judges.backends.local_judge import LocalJudge
from judges.backends.openai_judge import OpenAIJudge, identity_of
from judges.backends.recorded import Recorded, Replayed
from judges.bounds import judge_price

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from core.evaluation_config import JudgeBackendSection
    from engines.engine import Engine

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
