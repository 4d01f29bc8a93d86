"""The prompt pool against rouge-score, and cost by number of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks import growth as store_growth
from benchmarks import report_growth
from benchmarks import rouge_dedup as dedup
from benchmarks.comparison import missing
from benchmarks.data_files import NotHere, shared_folder

if TYPE_CHECKING:
    from benchmarks.comparison import Row
    from benchmarks.machine import Machine


def rouge_dedup(machine: Machine, repeats: int) -> Row:
    """Compare the filter of 10,000 prompts with rouge-score on all pairs; one core on each side."""
    del machine
    try:
        shared = shared_folder()
    except NotHere as absent:
        return missing("rouge-score", str(absent))
    return {"unit": "s", "repeats": repeats, **dedup.measure(shared, repeats)}


def growth() -> list[dict[str, Any]]:
    """Return seconds and peak memory of store, resume scan, dedup and report, smallest first."""
    return [*store_growth.measure(), *report_growth.measure()]
