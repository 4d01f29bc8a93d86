"""Importing files of recorded results in tests, as `srlm-eval import` does."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from evaluation.alpaca_eval import scores
from evaluation.files import exchange
from evaluation.mt_bench import fastchat_files


def import_results(
    folder: Path,
    annotations: Sequence[Path] = (),
    judgments: Sequence[Path] = (),
    *,
    redo: bool = False,
) -> list[str]:
    files = chain(
        (scores.recorded_results(path, None) for path in annotations),
        (found for path in judgments for found in fastchat_files.recorded_results(path)),
    )
    return exchange.import_results(folder, files, redo=redo)
