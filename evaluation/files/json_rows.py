"""Reading users' files of JSON objects: JSONL or a JSON list, plain or .gz."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from core.errors import DataError
from core.jsonl import read_objects

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MOST = sys.float_info.max
_LEAST = -_MOST


class Kind(NamedTuple):
    """A known kind of file: the fields that tell it, what it is, and what reads it."""

    fields: frozenset[str]
    what: str
    readers: str


_KINDS = {
    "annotations": Kind(
        frozenset({"instruction", "output_1", "output_2", "preference"}),
        "AlpacaEval's annotations",
        "srlm-eval alpaca-eval, import --annotations and compare read them",
    ),
    "judgments": Kind(
        frozenset({"question_id", "model", "judge", "judgment", "turn"}),
        "FastChat's judgments of single answers",
        "srlm-eval mt-bench, import --judgments and compare read them",
    ),
    "pair judgments": Kind(
        frozenset({"question_id", "model_1", "model_2", "g1_winner"}),
        "FastChat's pairwise judgments",
        "its own show_result.py --mode pairwise-all reads them",
    ),
    "samples": Kind(
        frozenset({"doc_id", "doc", "target", "resps"}),
        "lm-eval's samples (--log_samples)",
        "srlm-eval compare reads them",
    ),
    "answers": Kind(
        frozenset({"question_id", "model_id", "choices"}),
        "model answers of FastChat or Arena-Hard, not judged yet",
        "srlm-eval arena-hard --answers counts their style",
    ),
    "arena judgments": Kind(
        frozenset({"model", "judge", "games"}),
        "Arena-Hard's judgments",
        "srlm-eval arena-hard reads them",
    ),
}


def read_rows(path: Path, *kinds: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line from 1, object) for every row, as `core.jsonl.read_objects` does.

    `kinds`: which of the known kinds of file the caller reads; a first row of another is refused.

    Raises:
        DataError: as there, or there is no row.
    """
    found = False
    for line, value in read_objects(path):
        if not found:
            for name, kind in _KINDS.items():
                if name not in kinds and kind.fields <= value.keys():
                    raise DataError(path, line, f"these are {kind.what}; {kind.readers}")
        found = True
        yield line, value
    if not found:
        raise DataError(path, None, "no rows in this file")


def number(path: Path, line: int, row: dict[str, Any], field: str) -> float:
    """Return a field that must be a finite number.

    Raises:
        DataError: it is absent, text, true/false, null, NaN or infinite.
    """
    value = row.get(field)
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    if not plain or not _LEAST <= value <= _MOST:  # type: ignore[operator] # also excludes NaN
        shown = json.dumps(value)[:40] if field in row else "absent"
        raise DataError(path, line, f"{field} is {shown}, expected a finite number")
    return float(value)  # type: ignore[arg-type]


def number_or_missing(path: Path, line: int, row: dict[str, Any], field: str) -> float | None:
    """Return a field as `number` does, or None where it is null: missing."""
    return None if field in row and row[field] is None else number(path, line, row, field)
