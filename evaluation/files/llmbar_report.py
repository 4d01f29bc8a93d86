"""A judge against LLMBar's labels, beside chance and beside always preferring the longer answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.progress import track
from core.reductions import combine_all
from engines.opening import open_engine
from evaluation.files.llmbar import CHANCE, agreement, always_longer, load
from evaluation.judge import judge_folder, open_judge
from evaluation.run import engine_section
from judges.asking import settle_failures
from judges.comparison_health import measure_comparisons
from judges.pair_prompts import pair_prompt
from judges.pairwise import judge_orders

if TYPE_CHECKING:
    from pathlib import Path

    from core.evaluation_config import JudgeBackendSection
    from core.records import Score
    from engines.engine import Engine
    from judges.asking import Reply


def report(
    path: Path,
    section: JudgeBackendSection,
    *,
    prompt: str,
    cassette: Path,
    limit: int | None,
    dtype: str,
) -> dict[str, Any]:
    """Judge a file of LLMBar in both orders and compare with its labels; numbers in percent.

    Replies are recorded in `cassette`, so that a second call asks for nothing.

    Raises:
        DataError: the file is not LLMBar's.
        ConfigError: the judge cannot be opened.
        JudgeFailed: requests failed for good; what came is recorded.
    """
    items = load(path)
    comparisons = items.comparisons[:limit]
    labels = {item.key: items.labels[item.key] for item in comparisons}

    def engine() -> Engine:
        return open_engine(judge_folder(section.model), engine_section(dtype))

    judge = open_judge(section, cassette, engine, seed=0)
    failures: list[Reply] = []
    orders = {}
    with track(f"{judge.name} judges {path.name}", 2 * len(comparisons)) as advance:
        for verdict in judge_orders(judge, comparisons, pair_prompt(prompt), failures=failures):
            orders[verdict.key] = verdict
            advance()
    settle_failures(failures, 2 * len(comparisons), allowed_share=0)
    lengths = {c.key: (len(c.answer_a), len(c.answer_b)) for c in comparisons}
    found = agreement(combine_all(orders), labels)
    longer = agreement(always_longer(comparisons), labels)[0]
    return {
        "file": str(path),
        "judge": judge.name,
        "prompt": prompt,
        "n": len(comparisons),
        **{score.key: _plain(score) for score in found},
        "chance": CHANCE,
        "always_longer": _plain(longer),
        "judge_health": {
            m.key: {"value": m.value, "n": m.n}
            for m in measure_comparisons(list(orders.values()), lengths)
        },
    }


def _plain(score: Score) -> dict[str, Any]:
    return {
        "value": score.value,
        "low": score.low,
        "high": score.high,
        "n": score.n,
        "missing": score.missing,
        **(score.detail or {}),
    }
