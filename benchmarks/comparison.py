"""Timing two sides alternately, and the resulting row of the table."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

Row = dict[str, Any]


class Timings(NamedTuple):
    """Seconds of each repeat of both sides; the n-th values belong to the same repeat."""

    ours: list[float]
    theirs: list[float]

    @property
    def ratios(self) -> list[float]:
        """Their seconds divided by ours, for each repeat."""
        return [theirs / ours for ours, theirs in zip(self.ours, self.theirs, strict=True)]


def alternate(
    ours: Callable[[], object],
    theirs: Callable[[], object],
    repeats: int,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> Timings:
    """Time both sides alternately, ours first, `repeats` times.

    Alternating, so that a slow phase of the machine affects both. Neither is warmed up here: run
    each once before, on less work if it is long.
    """
    timings = Timings([], [])
    for _ in range(repeats):
        for side, seconds in ((ours, timings.ours), (theirs, timings.theirs)):
            began = clock()
            side()
            seconds.append(clock() - began)
    return timings


def compared(
    timings: Timings, *, peer: str, equal: bool | None, amount: float, unit: str, **more: Any
) -> Row:
    """Return a row of results.json.

    Args:
        timings: what was measured.
        peer: who the other side is.
        equal: whether both sides' results are the same, None where nothing can be compared.
        amount: the work of one repeat, in units of `unit`; both sides do the same.
        unit: "items", "tokens": what `ours` and `theirs` count for each second.
        more: further facts.

    `ratio_*` are of our speed to theirs, repeat by repeat; `ratio_of_medians` is that of the median
    speeds. `ours` and `theirs` are median speeds, `spread` the whole range of the ratios over their
    median.
    """
    ratios = timings.ratios
    ours, theirs = statistics.median(timings.ours), statistics.median(timings.theirs)
    median = statistics.median(ratios)
    return {
        "ratio_median": median,
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "ratio_of_medians": theirs / ours,
        "spread": (max(ratios) - min(ratios)) / median,
        "ours": amount / ours,
        "theirs": amount / theirs,
        "unit": f"{unit}/s",
        "peer": peer,
        "equal": equal,
        "repeats": len(ratios),
        "amount": amount,
        "ours_seconds": timings.ours,
        "theirs_seconds": timings.theirs,
        **more,
    }


def missing(peer: str, reason: str) -> Row:
    """Return the row of a workload that cannot be measured here: every number is None."""
    empty = dict.fromkeys(("ratio_median", "ratio_min", "ratio_max", "ours", "theirs", "equal"))
    return {**empty, "peer": peer, "missing": reason}
