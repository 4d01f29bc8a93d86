"""Cost of the store and of deduplication at 1, 10 and 100 times the rows.

    python -m benchmarks.growth

Every step runs in its own process, to measure its peak memory separately. Rows are judgments
with a reply of about 600 characters; prompts to dedup are those of benchmarks/rouge_dedup.py,
generated. The row "start" is a process without rows. For the report see
benchmarks/report_at_scale.py.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.rouge_dedup import pooled, prompts_of
from core.making import by_key
from core.records import Judgment
from core.stages import Ref, Stage, project_root
from core.store import Built, Key, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROWS = (1_000, 10_000, 100_000)
PROMPTS = (100, 1_000, 10_000)
_REF, _KEY = Ref(2, Stage.JUDGMENTS), Key({}, {}, 0)
_WORDS = (
    "the", "answer", "is", "about", "rivers", "and", "tides", "but", "at", "last", "says",
    "nothing", "of", "why",
)  # fmt: skip
_STEPS = ("write partial", "resume scan", "commit", "read")
_START, _DEDUP = "start", "dedup"


def measure() -> list[dict[str, Any]]:
    """Return {"what", "rows", "seconds", "peak_mb"} for each step, from few rows to many."""
    stored = []
    for rows in ROWS:
        with tempfile.TemporaryDirectory() as folder:  # each step goes on from the one before
            stored += [_in_a_process(step, rows, Path(folder)) for step in _STEPS]
    stored.sort(key=lambda row: _STEPS.index(row["what"]))
    start = _in_a_process(_START, 0, Path())
    return [start, *stored, *(_in_a_process(_DEDUP, rows, Path()) for rows in PROMPTS)]


def _in_a_process(what: str, rows: int, folder: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.growth", what, str(rows), str(folder)]
    done = subprocess.run(command, cwd=project_root(), check=True, capture_output=True)  # noqa: S603 - our own command
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def _step(what: str, rows: int, folder: Path) -> float:
    """Do one step; return its seconds without those of generating the rows."""
    store = Store(folder)
    if what == _START:
        return 0.0
    if what == _DEDUP:
        prompts = random.Random(0).sample(prompts_of(None), rows)
        return _seconds(lambda: pooled(prompts))
    if what == "write partial":
        made_up = _seconds(lambda: [None for _ in _judgments(rows)])
        return _seconds(lambda: _write(store, rows)) - made_up
    if what == "resume scan":
        return _seconds(lambda: _scan(store, rows))
    if what == "commit":
        with store.begin(_REF, _KEY) as out:
            return _seconds(lambda: out.commit(by_key, Built()))
    return _seconds(lambda: store.read(_REF))


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _write(store: Store, rows: int) -> None:
    with store.begin(_REF, _KEY) as out:
        out.add_missing(_judgments(rows))


def _scan(store: Store, rows: int) -> None:
    with store.begin(_REF, _KEY) as out:
        if len(out.rows) != rows:
            raise ValueError(f"found {len(out.rows)} rows of {rows}")


def _judgments(rows: int) -> Iterator[Judgment]:
    rng = random.Random(0)
    for at in rng.sample(range(rows), rows):  # they arrive in another order than they are sorted
        reply = " ".join(rng.choices(_WORDS, k=120)) + "\n\nScore: 4"
        subject = f"c{at // 12}/t0/a{at // 3 % 4}"
        prompt = f"c{at // 12}/t0"
        yield Judgment(f"{subject}/j{at % 3}", subject, prompt, at % 3, reply, 4.0, None, 130)


def main() -> None:
    """Print the table, or with arguments do one step and print its measurements as JSON."""
    if arguments := sys.argv[1:]:
        what, rows, folder = arguments
        seconds = _step(what, int(rows), Path(folder))
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        line = {"what": what, "rows": int(rows), "seconds": seconds, "peak_mb": peak_mb}
        sys.stdout.write(json.dumps(line) + "\n")
        return
    for row in measure():
        sys.stdout.write(
            f"{row['what']:14} {row['rows']:>8,} {row['seconds']:8.3f} s {row['peak_mb']:6.0f} MB\n"
        )


if __name__ == "__main__":
    main()
