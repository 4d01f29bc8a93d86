"""Reading and writing benchmarks/results.json: one row per workload, growth, and the machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from core.errors import DataError
from core.store import write_atomically

if TYPE_CHECKING:
    from pathlib import Path


def read_results(path: Path) -> dict[str, Any]:
    """Return what is in the file, nothing if there is none.

    Raises:
        DataError: it is not a JSON object.
    """
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(
            path, None, f"not JSON ({error}); remove it, or give another --out"
        ) from error
    if not isinstance(found, dict):
        raise DataError(path, None, "not a JSON object; remove it, or give another --out")
    return found


def merge_results(path: Path, new: dict[str, Any]) -> dict[str, Any]:
    """Put the new entries in place of those of the same name; return all that the file now holds.

    A row keeps the date it was measured and its shares of the machine as it was then; "machine" is
    the last run's.

    Raises:
        DataError: the file is there but is no JSON object.
    """
    merged = read_results(path) | new
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(merged, indent=2, ensure_ascii=False) + "\n")
    return merged
