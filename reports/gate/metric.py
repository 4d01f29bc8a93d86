"""One metric of the gate: its paired test for a drop, and the minimum detectable effect."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from core.intervals import Interval, cluster_sums, clustered_stderr
from core.paired import FLIPS, Tails, mcnemar, sign_flip
from reports.gate.pairs import cluster_of
from reports.gate.power import BinaryPower, ClusteredPower, PowerModel, least_drop, noise_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reports.gate.pairs import Pair
    from reports.scores import Metric

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

    `difference` is candidate − baseline with its 95 % interval (None for one cluster). `p_value`
    asks whether the candidate is worse, `p_better` whether it is better; `adjusted` and
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
    """Both runs' values on the shared items; `sums` are those of differences over clusters."""

    first: NDArray[np.float64]
    second: NDArray[np.float64]
    differences: NDArray[np.float64]
    sums: NDArray[np.float64]
    error: float | None
    low: float
    high: float

    @property
    def binary(self) -> bool:
        """Whether every item is right or wrong, and an observation of its own."""
        ends = (self.low, self.high)
        return len(self.sums) == len(self.first) and all(
            bool(((values == ends[0]) | (values == ends[1])).all())
            for values in (self.first, self.second)
        )

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

    Args:
        pair: the metric on both sides.
        level: the p-value at which it fails if no other metric does: alpha over their number.
        tolerance: the observed drop must exceed this, in the metric's unit.
        seed: of sampled sign flips.
    """
    before, after, shared = pair
    values = _values(pair)
    test = _test(values, level=level, seed=seed)
    baseline, difference = float(values.first.mean()), float(values.differences.mean())
    return Checked(
        id=before.id,
        benchmark=before.benchmark,
        unit=before.unit,
        n=len(shared),
        n_clusters=len(values.sums),
        n_only_baseline=len(before.items or {}) - len(shared),
        n_only_candidate=len(after.items or {}) - len(shared),
        baseline=baseline,
        candidate=float(values.second.mean()),
        difference=difference,
        interval=_interval(difference, values.error, len(values.sums)),
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
    labels = None
    if pair.baseline.clusters:
        labels = [cluster_of(pair.baseline, item) for item in pair.shared]
    plain = differences.tolist()
    return _Values(
        first,
        second,
        differences,
        cluster_sums(plain, labels).totals,
        clustered_stderr(plain, labels),
        *_scale(pair.baseline),
    )


def _scale(metric: Metric) -> tuple[float, float]:
    """Return the least and greatest value an item can have; those there are if nothing says it."""
    if metric.scale is not None:
        return metric.scale
    found = list((metric.items or {}).values())
    return _SCALES.get(metric.unit, (min(found), max(found)))


def _test(values: _Values, *, level: float, seed: int) -> Tails:
    """Return the p-values of candidate − baseline: less is worse, greater is better."""
    if not values.binary:
        flips = max(FLIPS, math.ceil(_FLIPS_PER_LEVEL / level))
        return sign_flip(values.sums, seed=seed, flips=flips)
    return mcnemar(values.gained, values.lost)


def _interval(middle: float, error: float | None, clusters: int) -> Interval | None:
    """Return the 95 % interval from the clustered standard error and Student's t."""
    from scipy.special import stdtrit

    if error is None:
        return None
    half = float(stdtrit(clusters - 1, 0.975)) * error
    return Interval(middle - half, middle + half)


def _detectable(values: _Values, level: float, tolerance: float) -> Detectable:
    method: Literal["exact", "normal"] = "exact" if values.binary else "normal"
    if not values.binary and not values.differences.any():
        return Detectable(None, method, "no item differs, so the noise cannot be estimated")
    least = least_drop(_power_model(values, level, tolerance))
    note = "" if least is not None else f"no drop can be detected with n = {len(values.first)}"
    return Detectable(least, method, note)


def _power_model(values: _Values, level: float, tolerance: float) -> PowerModel:
    n, clusters = len(values.first), len(values.sums)
    if values.binary:
        right = float((values.first == values.high).mean())
        noise = noise_of(values.gained, values.lost, n, right)
        return BinaryPower(n, noise, right, values.high - values.low, tolerance, level)
    # The standard error of a mean over n items, as the deviation of one cluster's sum.
    spread = (values.error or 0.0) * n / math.sqrt(clusters)
    most = float(values.first.mean()) - values.low
    return ClusteredPower(n, clusters, spread, most, tolerance, level)
