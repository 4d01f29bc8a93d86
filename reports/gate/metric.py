"""One metric of the gate: its paired test for a drop, and the minimum detectable effect."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from core.intervals import Interval, cluster_sums, clustered_stderr
from core.paired import FLIPS, Tails, difference_interval, mcnemar, sign_flip, tango
from reports.gate.pairs import Pair, cluster_of
from reports.gate.power import BinaryPower, ClusteredPower, least_drop, noise_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


Outcome = Literal["failed", "tolerated", "passed", "improved"]

_FLIPS_PER_LEVEL = 10  # sampled p-values resolve the strictest level at least ten times
_SCALES = {"percent": (0.0, 100.0), "share": (0.0, 1.0)}


class Detectable(NamedTuple):
    """The minimum detectable effect of a metric's test.

    `least` is the drop detected with 80 % power; None where there is none, and `note` says why.
    `method`: "exact", or "normal" for the approximation.
    """

    least: float | None
    method: Literal["exact", "normal"]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Checked:
    """One metric, baseline against candidate, over the items that both have.

    `difference` is candidate − baseline with its 95 % interval; None: see `difference_interval`.
    `p_value` asks whether the candidate is worse, `p_better` whether it is better; `adjusted` and
    `adjusted_better` are Holm's.
    """

    id: str
    benchmark: str
    unit: str
    n: int
    n_clusters: int
    n_only_baseline: int
    n_only_candidate: int
    baseline: float
    candidate: float
    difference: float
    interval: Interval | None
    test: str
    p_value: float
    p_better: float
    tolerance: float
    detectable: Detectable
    adjusted: float = 1.0
    adjusted_better: float = 1.0
    outcome: Outcome = "passed"


class _Values(NamedTuple):
    """Both runs' values on the shared items; `sums` are those of differences over `clusters`."""

    first: NDArray[np.float64]
    second: NDArray[np.float64]
    differences: NDArray[np.float64]
    clusters: list[str]
    sums: NDArray[np.float64]
    error: float | None
    low: float
    high: float

    @property
    def binary(self) -> bool:
        """Whether every item is right or wrong, and an observation of its own."""
        both = np.concatenate((self.first, self.second))
        at_the_ends = bool(((both == self.low) | (both == self.high)).all())
        return len(self.sums) == len(self.first) and at_the_ends

    @property
    def gained(self) -> int:
        """Items on which the candidate is better."""
        return int((self.differences > 0).sum())

    @property
    def lost(self) -> int:
        """Items on which it is worse."""
        return int((self.differences < 0).sum())


def check(pair: Pair, *, level: float, tolerance: float, seed: int) -> Checked:
    """Test one metric for a drop, without Holm's correction.

    `level`: the p-value at which it fails if no other metric does, alpha over their number.
    `tolerance`: the observed drop must exceed this, in the metric's unit. `seed`: of sampled flips.
    """
    before, after, shared = pair
    values = _values(pair)
    test = _test(values, level=level, seed=seed)
    return Checked(
        id=before.id,
        benchmark=before.benchmark,
        unit=before.unit,
        n=len(shared),
        n_clusters=len(values.sums),
        n_only_baseline=len(before.items or {}) - len(shared),
        n_only_candidate=len(after.items or {}) - len(shared),
        baseline=float(values.first.mean()),
        candidate=float(values.second.mean()),
        difference=float(values.differences.mean()),
        interval=_interval(values),
        test=test.name,
        p_value=test.less,
        p_better=test.greater,
        tolerance=tolerance,
        detectable=_detectable(values, level, tolerance),
    )


def _values(pair: Pair) -> _Values:
    before, after = pair.baseline.items or {}, pair.candidate.items or {}
    first = np.array([before[item] for item in pair.shared], dtype=np.float64)
    second = np.array([after[item] for item in pair.shared], dtype=np.float64)
    differences = second - first
    labels = [cluster_of(pair.baseline, item) for item in pair.shared]
    plain = differences.tolist()
    sums, error = cluster_sums(plain, labels).totals, clustered_stderr(plain, labels)
    # Least and greatest value an item can have; those there are if nothing says it.
    there_are = (min(before.values()), max(before.values()))
    low, high = pair.baseline.scale or _SCALES.get(pair.baseline.unit, there_are)
    return _Values(first, second, differences, labels, sums, error, low, high)


def _test(values: _Values, *, level: float, seed: int) -> Tails:
    """Return the p-values of candidate − baseline: less is worse, greater is better."""
    if not values.binary:
        flips = max(FLIPS, math.ceil(_FLIPS_PER_LEVEL / level))
        return sign_flip(values.sums, seed=seed, flips=flips)
    return mcnemar(values.gained, values.lost)


def _interval(values: _Values) -> Interval | None:
    step = values.high - values.low
    if values.binary:
        return tango(values.gained, values.lost, len(values.first)).scaled(step)
    return difference_interval(values.differences.tolist(), values.clusters, most=step or None)


def _detectable(values: _Values, level: float, tolerance: float) -> Detectable:
    method: Literal["exact", "normal"] = "exact" if values.binary else "normal"
    if not values.binary and not values.differences.any():
        return Detectable(None, method, "no item differs, so the noise cannot be estimated")
    n, clusters = len(values.first), len(values.sums)
    model: BinaryPower | ClusteredPower
    if values.binary:
        right = float((values.first == values.high).mean())
        noise = noise_of(values.gained, values.lost, n, right)
        model = BinaryPower(n, noise, right, values.high - values.low, tolerance, level)
    else:
        # The standard error of a mean over n items, as the deviation of one cluster's sum.
        spread = (values.error or 0.0) * n / math.sqrt(clusters)
        most = float(values.first.mean()) - values.low
        model = ClusteredPower(n, clusters, spread, most, tolerance, level)
    least = least_drop(model)
    note = "" if least is not None else f"no drop can be detected with n = {n}"
    return Detectable(least, method, note)
