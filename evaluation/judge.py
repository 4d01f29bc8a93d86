"""The external judge of an evaluation: an API or a model, recorded, within a budget."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import ConfigError
from core.progress import track
from judges.asking import settle_failures

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from core.records import Row
    from core.store import Partial
    from judges.asking import Ask, Judge, Reply


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
