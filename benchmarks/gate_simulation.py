"""False-alarm rate and detection rate of the regression gate, simulated on real item results.

`python -m benchmarks.gate_simulation --shared ../shared [--items DIR] [--scores A.json B.json]`
prints two figures: how often it raises a false alarm when nothing changed, and how often it catches
a planted drop as large as the minimum detectable effect that it prints (expected: 80 %).

Nothing changed. Two real result vectors of a metric become exchangeable when each cluster is
swapped between them by a coin. Where there is only one, two copies are made and in each every
cluster is, with probability 0.1, replaced by another cluster's values.

A planted drop. In one metric at a time, on top of that, the candidate gets worse by that effect on
average over chance: in percent, items above the middle of the scale are mirrored (right becomes
wrong, a preference of v becomes 100 − v), each with the same probability; on other scales every
item is lowered by the same amount, though not below the scale.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks.gate_families import Member, from_items, from_scores, from_shared
from core.command import results
from core.intervals import Interval, wilson
from reports.gate.gate import GateOptions, check_one, settle
from reports.gate.pairs import Pair, cluster_of
from reports.gate.power import WANTED
from reports.scores import read_scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from rich.table import Table

    from reports.gate.metric import Checked
    from reports.scores import Metric

_REDRAWN = 0.1
_HALVINGS = 60


class Caught(NamedTuple):
    """How often the planted drop of one metric was caught.

    `least` is the mean of the minimum detectable effects, which were planted; None without any.
    """

    id: str
    n: int
    runs: int
    caught: int
    least: float | None


class Simulation(NamedTuple):
    """What was measured: runs, those with a false alarm, and what became of planted drops."""

    runs: int
    metrics: int
    alarms: int
    caught: tuple[Caught, ...]

    @property
    def rate(self) -> float:
        """Share of comparisons without a change in which any metric failed."""
        return self.alarms / self.runs

    @property
    def interval(self) -> Interval | None:
        """Its 95 % interval."""
        return wilson(self.alarms, self.runs)


class Vectors:
    """One member of the family as arrays: clusters, and how it is made exchangeable."""

    def __init__(self, member: Member) -> None:
        """Number the clusters."""
        self.metric = member.metric
        self.items = tuple(member.first)
        self.first = np.array(list(member.first.values()))
        second = member.second
        self.second = None if second is None else np.array([second[item] for item in self.items])
        labels = [cluster_of(self.metric, item) for item in self.items]
        places = {label: place for place, label in enumerate(dict.fromkeys(labels))}
        self.clusters = np.array([places[label] for label in labels])
        self.members = [np.flatnonzero(self.clusters == c) for c in range(len(places))]

    def exchangeable(self, rng: np.random.Generator) -> tuple[NDArray[np.float64], ...]:
        """Return baseline and candidate that differ by chance alone."""
        if self.second is None:
            return self._noisy(rng), self._noisy(rng)
        swapped = (rng.random(len(self.members)) < 0.5)[self.clusters]  # noqa: PLR2004 - a coin
        first = np.where(swapped, self.second, self.first)
        return first, np.where(swapped, self.first, self.second)

    def _noisy(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return the values with some clusters replaced by the values of others."""
        values = self.first.copy()
        for at in np.flatnonzero(rng.random(len(self.members)) < _REDRAWN):
            own, other = self.members[at], self.members[rng.integers(len(self.members))]
            values[own] = np.resize(self.first[other], len(own))
        return values

    def pair(self, first: NDArray[np.float64], second: NDArray[np.float64]) -> Pair:
        """Return the two as the gate pairs them."""
        return Pair(self._with(first), self._with(second), self.items)

    def _with(self, values: NDArray[np.float64]) -> Metric:
        items = dict(zip(self.items, values.tolist(), strict=True))
        return self.metric.model_copy(update={"items": items})


def plant(
    values: NDArray[np.float64],
    metric: Metric,
    drop: float,
    rng: np.random.Generator,
    *,
    among: NDArray[np.float64] | None = None,
) -> NDArray[np.float64] | None:
    """Return values that are lower by `drop` on average; None where there is no room for it.

    How likely or how far an item falls is such that `among` (default: the values themselves) would
    fall by `drop`. With both exchangeable vectors there it does not depend on which of them came
    out ahead by chance.
    """
    low, high = metric.scale or (0.0, 100.0)
    pool = values if among is None else among
    if metric.unit == "percent":
        room = float(np.maximum(2 * pool - low - high, 0).mean())
        if room < drop:
            return None
        hit = rng.random(len(values)) < drop / room
        return np.where(hit & (2 * values > low + high), low + high - values, values)
    if pool.mean() - low < drop:
        return None
    least, most = 0.0, high - low
    for _ in range(_HALVINGS):
        shift = (least + most) / 2
        fallen = float(pool.mean() - np.maximum(pool - shift, low).mean())
        least, most = (shift, most) if fallen < drop else (least, shift)
    return np.maximum(values - most, low)


def simulate(
    family: Sequence[Member], *, runs: int, seed: int, options: GateOptions | None = None
) -> Simulation:
    """Run the gate `runs` times without a change and, per metric, as often with a planted drop.

    The tests of metrics do not depend on each other, so a planted drop changes one test; Holm's
    correction and the decision are then made anew over the whole family.
    """
    options = options or GateOptions()
    vectors = [Vectors(member) for member in family]
    without: list[list[Checked]] = []
    planted = [0] * len(family)
    alarms, caught = 0, [0] * len(family)
    for number in range(runs):
        rng = np.random.default_rng([seed, number])
        now = replace(options, seed=int(rng.integers(1 << 31)))
        drawn = [one.exchangeable(rng) for one in vectors]
        tests = [
            check_one(one.pair(*pair), now, family=len(vectors))
            for one, pair in zip(vectors, drawn, strict=True)
        ]
        without.append(tests)
        alarms += any(one.outcome == "failed" for one in settle(tests, now.alpha))
        for at, (one, (first, second)) in enumerate(zip(vectors, drawn, strict=True)):
            drop = tests[at].detectable.least
            if drop is None:
                continue
            lowered = plant(second, one.metric, drop, rng, among=np.concatenate([first, second]))
            if lowered is None:
                continue
            worse = check_one(one.pair(first, lowered), now, family=len(vectors))
            planted[at] += 1
            settled = settle([*tests[:at], worse, *tests[at + 1 :]], now.alpha)
            caught[at] += settled[at].outcome == "failed"
    rows = [
        _row([tests[at] for tests in without], planted[at], caught[at])
        for at in range(len(vectors))
    ]
    return Simulation(runs, len(vectors), alarms, tuple(rows))


def table(found: Simulation) -> Table:
    """Return the planted drops as a table, in percent."""
    from rich.table import Table as RichTable
    from rich.text import Text

    out = RichTable()
    out.add_column("metric", overflow="fold")
    for name in ("n", "runs", "caught %", "MDE"):
        out.add_column(name, justify="right")
    for row in found.caught:
        share = f"{100 * row.caught / row.runs:.1f}" if row.runs else "–"
        least = "–" if row.least is None else f"{row.least:.2f}"
        out.add_row(Text(row.id), str(row.n), str(row.runs), share, least)
    return out


def _row(without: Sequence[Checked], planted: int, caught: int) -> Caught:
    first = without[0]
    least = _mean([one.detectable.least for one in without])
    return Caught(id=first.id, n=first.n, runs=planted, caught=caught, least=least)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def main() -> None:
    """Print the two figures and the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gate_simulation")
    parser.add_argument("--scores", type=Path, nargs="+", default=[], help="scores.json files")
    parser.add_argument("--shared", type=Path, help="folder of recorded results")
    parser.add_argument("--items", type=Path, help="folder of NLP item rows (*.items.jsonl)")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    family = from_scores([read_scores(path) for path in chosen.scores]) if chosen.scores else []
    family += from_shared(chosen.shared) if chosen.shared else []
    family += from_items(chosen.items) if chosen.items else []
    if not family or chosen.runs < 1:
        parser.error("give results (--scores, --shared or --items) and at least one run")
    found = simulate(family, runs=chosen.runs, seed=chosen.seed)
    low, high = found.interval or (0.0, 1.0)
    out = results()
    out.print(
        f"False alarms: {found.alarms} of {found.runs} comparisons without a change "
        f"({100 * found.rate:.1f} %, 95 % interval {100 * low:.1f} to {100 * high:.1f}), "
        f"any of {found.metrics} metrics"
    )
    gaps = [abs(row.caught / row.runs - WANTED) for row in found.caught if row.runs]
    if gaps:
        out.print(
            f"Planted drops of the minimum detectable effect: caught {100 * WANTED:.0f} % of the "
            f"time, within {100 * max(gaps):.1f} points on the worst of {len(gaps)} metrics"
        )
    out.print(table(found))


if __name__ == "__main__":
    main()
