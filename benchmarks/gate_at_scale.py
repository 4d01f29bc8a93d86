"""CPU time of the regression gate on a large evaluation.

    python -m benchmarks.gate_at_scale

Fifty metrics of 14,000 generated items each; prints seconds of CPU, MDE included.
"""

from __future__ import annotations

import random
import sys
import time

from reports.gate.gate import run_gate
from reports.scores import Metric, ScoresFile

METRICS = 50
ITEMS = 14_000
RIGHT = 0.6


def scores(seed: int) -> ScoresFile:
    """Return fifty metrics over the generated answers of one model."""
    rng = random.Random(seed)
    items = {f"item/{at}": 100.0 * (rng.random() < RIGHT) for at in range(ITEMS)}
    metrics = [
        Metric(
            id=f"M{at % 5}/nlp/t{at // 5}/acc",
            benchmark="nlp",
            subject=f"M{at % 5}",
            part=f"t{at // 5}",
            metric="acc",
            unit="percent",
            better="higher",
            headline=True,
            value=sum(items.values()) / ITEMS,
            n=ITEMS,
            scale=(0.0, 100.0),
            items=items,
        )
        for at in range(METRICS)
    ]
    return ScoresFile(run=f"seed {seed}", code_version="", metrics=metrics)


def main() -> None:
    """Print the CPU time of one gate."""
    before, after = scores(0), scores(1)
    began = time.process_time()
    found = run_gate(before, after)
    seconds = time.process_time() - began
    sys.stdout.write(f"{len(found.checked)} metrics × {ITEMS:,} items: {seconds:.2f} s of CPU\n")


if __name__ == "__main__":
    main()
