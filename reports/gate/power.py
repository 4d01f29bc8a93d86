"""Power of the gate's tests, and the minimum detectable effect.

Two models of a worse candidate, one per test. Both describe the population that the items were
drawn from: the drop on the items at hand varies around it.

Binary items (exact McNemar test). Without a drop an item changes from right to wrong with
probability q/2 and from wrong to right with the same. A drop of δ turns items that the candidate
has right into wrong ones, each with the same probability θ = δ/right: q/2 + δ − θq/2 are lost and
(1 − θ)q/2 gained. The test's power is then exact.

Anything else (sign flips over clusters). The sum of differences is normal; its spread is the
observed one, also when there is a drop.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

WANTED = 0.8
_ROUNDING = 1e-9
_TAIL = 1e-10  # left out of the discordant counts on each side
_PRECISION = 1e-4  # of the least drop, as a share of the greatest one possible


class BinaryPower(NamedTuple):
    """Exact power of the one-sided McNemar test.

    `noise` is q/2, the share of items that change in each direction without a drop; `right` the
    share that the baseline has right; `step` what an item is worth (100 in percent); `tolerance`
    the drop that the observed one must exceed; `level` the p-value that fails.
    """

    n: int
    noise: float
    right: float
    step: float
    tolerance: float
    level: float

    @property
    def most(self) -> float:
        """Everything becomes wrong."""
        return self.right * self.step

    def power(self, drop: float) -> float:
        """Sum over the number of discordant items, which is binomial as well."""
        from scipy.special import bdtrc

        if drop <= 0 and self.noise == 0:
            return 0.0
        left = 1 - drop / self.most if drop else 1.0
        gained = self.noise * left
        lost = gained + drop / self.step
        discordant = min(1.0, lost + gained)
        low, weights = _binomial_weights(self.n, discordant)
        counts = np.arange(low, low + len(weights))
        # lost − gained must exceed the tolerance, and lost + gained is the count.
        beyond = self.tolerance * self.n / self.step
        enough = np.floor((counts + beyond) / 2 + _ROUNDING) + 1
        needed = np.maximum(critical_counts(self.n, self.level)[counts], enough)
        # P(lost ≥ needed); needed is at least 1.
        reached = bdtrc(np.minimum(needed - 1, counts), counts, min(1.0, lost / discordant))
        return float(weights @ reached)


class ClusteredPower(NamedTuple):
    """Approximate power of the one-sided sign-flip test on sums over clusters.

    `spread` is the standard deviation of the clusters' sums of differences, `items` how many items
    there are in `clusters` clusters; the rest as for `BinaryPower`. Under a drop each cluster's sum
    falls by μ on average, and the flips' own spread is √(C (spread² + μ²)).
    """

    items: int
    clusters: int
    spread: float
    most: float
    tolerance: float
    level: float

    def power(self, drop: float) -> float:
        """Return the normal probability that the sum of differences is low enough."""
        from scipy.special import ndtr, ndtri

        if 0.5**self.clusters > self.level:
            return 0.0  # even if every cluster were worse
        fall = drop * self.items
        mean = fall / self.clusters
        deviation = self.spread * math.sqrt(self.clusters)
        flips = math.sqrt(self.clusters * (self.spread**2 + mean**2))
        needed = max(-float(ndtri(self.level)) * flips, self.tolerance * self.items)
        if deviation == 0:
            return float(fall > needed)
        return float(ndtr((fall - needed) / deviation))


def noise_of(gained: int, lost: int, n: int, right: float) -> float:
    """Estimate q/2 of `BinaryPower` from a comparison in which there may be a difference.

    Without a difference both sides of the discordant items are noise, and differ by √(2D/π) on
    average for D of them; only what they differ by beyond that counts as real. The plain smaller
    side makes the printed power too high where nothing changed (by 5 to 6 points for 500 items).
    Noise that a real difference took away is added again: a drop of δ leaves a share 1 − δ/right of
    the gained items, a gain of δ 1 − δ/(1 − right) of the lost ones.
    """
    apart = abs(gained - lost)
    chance = min(float(apart), math.sqrt(2 * (gained + lost) / math.pi))
    real = (apart - chance) / n
    among = right if gained < lost else 1 - right
    left = 1 - real / among if real else 1.0
    smaller = min(gained, lost) / left if left > 0 else 0.0
    return (smaller + chance / 2) / n


def least_drop(model: BinaryPower | ClusteredPower, wanted: float = WANTED) -> float | None:
    """Return the least drop whose power is `wanted` or more; None if not even the greatest's is."""
    from scipy.optimize import brentq

    if model.most <= 0 or model.power(model.most) < wanted:
        return None
    precision = _PRECISION * model.most
    found = brentq(lambda drop: model.power(drop) - wanted, 0.0, model.most, xtol=precision)
    return min(model.most, float(found) + precision)


@lru_cache(maxsize=32)
def critical_counts(n: int, level: float) -> NDArray[np.float64]:
    """Return, for 0..n tosses of a fair coin, the least heads with P(that many or more) ≤ level.

    One more than the tosses where even all heads are not rare enough.
    """
    from scipy.stats import binom

    return np.asarray(binom.isf(level, np.arange(n + 1), 0.5) + 1)


def _binomial_weights(n: int, share: float) -> tuple[int, NDArray[np.float64]]:
    """Return the probabilities of a binomial count from `low` on, without its far tails."""
    from scipy.special import gammaln

    if share >= 1.0:
        return n, np.ones(1)
    # Bernstein's bound: beyond this distance each tail has less than _TAIL.
    rare = -math.log(_TAIL)
    reach = math.sqrt(2 * n * share * (1 - share) * rare) + rare
    low, high = max(0, math.floor(n * share - reach)), min(n, math.ceil(n * share + reach))
    counts = np.arange(low, high + 1, dtype=np.float64)
    logs = gammaln(n + 1) - gammaln(counts + 1) - gammaln(n - counts + 1)
    logs += counts * math.log(share) + (n - counts) * math.log1p(-share)
    return low, np.exp(logs)
