"""What training wrote beside a model: metrics of every step, comparisons of checkpoints."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from core.jsonl import read_objects
from core.paired import sign_test

if TYPE_CHECKING:
    from pathlib import Path

    from core.stages import Ref
    from reports.results import RunResults

_MOST_POINTS = 400  # of a curve; more would be drawn on the same pixels


class Curve(NamedTuple):
    """One metric over the steps that have it; values are finite."""

    steps: list[int]
    values: list[float]

    @property
    def quarter(self) -> int:
        """How many steps the first and the last quarter have: at least one."""
        return max(1, len(self.values) // 4)

    @property
    def first(self) -> float:
        """Mean of the first quarter: single steps carry the chance of their batch."""
        return sum(self.values[: self.quarter]) / self.quarter

    @property
    def last(self) -> float:
        """Mean of the last quarter."""
        return sum(self.values[-self.quarter :]) / self.quarter

    def thinned(self) -> Curve:
        """Return at most 400 points: means over equally many neighbouring steps."""
        size = math.ceil(len(self.values) / _MOST_POINTS)
        if size <= 1:
            return self
        starts = range(0, len(self.values), size)
        return Curve(
            [self.steps[min(at + size, len(self.steps)) - 1] for at in starts],
            [sum(found) / len(found) for at in starts if (found := self.values[at : at + size])],
        )

    def until(self, step: int | None) -> Curve:
        """Return the part up to and with a step; all of it for None."""
        kept = sum(step is None or found <= step for found in self.steps)
        return Curve(self.steps[:kept], self.values[:kept])


class Checkpoint(NamedTuple):
    """A checkpoint and how its answers fared against the previous one's, by validation prompt.

    `before` is None for the first, which is compared with nothing.
    """

    step: int
    before: int | None
    better: int = 0
    tie: int = 0
    worse: int = 0
    unread: int = 0

    @property
    def p_value(self) -> float | None:
        """Exact sign test of better against worse; None for the first."""
        return None if self.before is None else sign_test(self.better, self.worse).p_value


def curves(results: RunResults, ref: Ref) -> dict[str, Curve]:
    """Return each metric of a model's training by name; {} if nothing was logged.

    Values that are not finite are left out.
    """
    found: dict[str, Curve] = defaultdict(lambda: Curve([], []))
    for line in _lines(results.store.paths.metrics(ref)):
        for name, value in line.items():
            if name != "step" and isinstance(value, int | float) and math.isfinite(value):
                found[name].steps.append(int(line["step"]))
                found[name].values.append(float(value))
    return dict(found)


def checkpoints(results: RunResults, ref: Ref) -> list[Checkpoint]:
    """Return the compared checkpoints of a DPO stage by step; [] without judged early stopping."""
    verdicts: dict[int, list[str | None]] = defaultdict(list)
    steps = set()
    for line in _lines(results.store.paths.verdicts(ref)):
        if line["kind"] == "answer":
            steps.add(int(line["step"]))
        elif line["kind"] == "verdict":
            verdicts[int(line["step"])].append(line["verdict"]["winner"])
    found = []
    for at, step in enumerate(ordered := sorted(steps)):
        winners = verdicts[step]
        kinds = (winners.count(name) for name in ("B", "tie", "A", None))
        found.append(Checkpoint(step, ordered[at - 1] if at else None, *kinds))
    return found


def _lines(path: Path) -> list[dict[str, Any]]:
    return [line for _, line in read_objects(path)] if path.is_file() else []
