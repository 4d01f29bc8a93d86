"""Cost of a report by the number of evaluation rows.

    python -m benchmarks.report_growth

The generated run of benchmarks/report_at_scale.py with a hundredth, a tenth and all of its NLP
items; its 4,825 other rows stay. Each size runs in its own process, to measure its peak memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import report_at_scale
from core.stages import project_root

SHARES = (0.01, 0.1, 1.0)
_OTHER_ROWS = 805 + 160  # of each model: AlpacaEval comparisons, MT-Bench judgments


def measure() -> list[dict[str, Any]]:
    """Return {"what", "rows", "seconds", "peak_mb"} for each size, in order."""
    return [_in_a_process(share) for share in SHARES]


def _in_a_process(share: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.report_growth", str(share)]
    done = subprocess.run(command, cwd=project_root(), check=True, stdout=subprocess.PIPE)  # noqa: S603 - our own command
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def _one(share: float) -> dict[str, Any]:
    items = {task: max(1, round(n * share)) for task, n in report_at_scale.ITEMS.items()}
    report_at_scale.ITEMS.update(items)
    with tempfile.TemporaryDirectory() as temporary:
        run, out = Path(temporary) / "large", Path(temporary) / "report"
        report_at_scale.make_run(run)
        seconds, peak_mb = report_at_scale.measure(run, out)
    rows = len(report_at_scale.MODELS) * (_OTHER_ROWS + sum(items.values()))
    return {"what": "report", "rows": rows, "seconds": seconds, "peak_mb": peak_mb}


def main() -> None:
    """Print a line for each size, or with an argument one size's measurements as JSON."""
    if arguments := sys.argv[1:]:
        sys.stdout.write(json.dumps(_one(float(arguments[0]))) + "\n")
        return
    for row in measure():
        sys.stdout.write(
            f"{row['rows']:>8,} rows {row['seconds']:6.1f} s {row['peak_mb']:.0f} MB\n"
        )


if __name__ == "__main__":
    main()
