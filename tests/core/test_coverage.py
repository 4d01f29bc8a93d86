from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.coverage import KINDS, SIZES, Draw, Kind, simulate
from core.intervals import Interval


def holds(kind: Kind, n: int, rate: float, runs: int) -> bool:
    """Whether coverage is not below the kind's least, but for what happens once in 1,000 times."""
    cell = simulate(kind, n, rate, runs=runs)
    if cell.coverage is None:
        return True
    return cell.coverage >= kind.least - 3.1 * math.sqrt(
        kind.least * (1 - kind.least) / cell.intervals
    )


@pytest.mark.parametrize("name", KINDS)
def test_every_printed_interval_covers_at_small_n(name: str) -> None:
    kind = KINDS[name]
    runs, sizes = (40, (5, 8)) if kind.costly else (200, (2, 5, 8, 24))
    for n in (size for size in kind.sizes if size in sizes):
        for rate in kind.rates:
            assert holds(kind, n, rate, runs), (n, rate)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if not kind.costly])
def test_every_printed_interval_covers_at_every_n(name: str) -> None:
    kind = KINDS[name]
    for n in SIZES:
        for rate in kind.rates:
            assert holds(kind, n, rate, 500), (n, rate)


def test_what_was_printed_before_does_not_cover() -> None:
    # A normal interval of 0s and 1s at a rate of 10 %, cut to [0, 1]: .28 at n = 2, .57 at 8 (of 0s
    # alone its width is 0).
    def normal(rng: np.random.Generator, n: int, rate: float) -> Draw:
        hits = rng.random(n) < rate
        half = 1.96 * float(hits.std(ddof=1)) / math.sqrt(n)
        return Draw(Interval(float(hits.mean()) - half, float(hits.mean()) + half), rate)

    before = Kind("", normal)
    assert not holds(before, 2, 0.1, 250)
    assert not holds(before, 8, 0.1, 250)
