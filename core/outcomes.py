"""The record of failed benchmarks, written by the evaluation and read by reports."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from core.store import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def read_failures(record: Path) -> dict[str, str]:
    """Return the recorded failures: address below eval/ → why; {} if there are none."""
    if not record.is_file():
        return {}
    found: dict[str, str] = json.loads(record.read_bytes())["failed"]
    return found


def write_failures(record: Path, failed: Mapping[str, str]) -> None:
    """Replace the recorded failures; the file sorts them by address."""
    text = json.dumps({"failed": dict(sorted(failed.items()))}, ensure_ascii=False, indent=1)
    write_atomically(record, text + "\n")
