"""The regression gate: fails if a candidate is significantly worse than a baseline.

Each metric is tested for a drop on the items that both have; Holm's correction keeps the chance of
any false alarm, over all metrics together, at alpha. docs/reports.md says how to read it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from core.errors import ConfigError
from core.paired import holm
from reports.gate.metric import Checked, Outcome, check
from reports.gate.pairs import MAX_LOST, Pair, Problem, matches, pair_up, require_known

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.scores import ScoresFile


@dataclass(frozen=True, slots=True)
class GateOptions:
    """What to test and how strictly.

    `only` and `exclude` are patterns (`reports.gate.pairs.matches`). `tolerances` pairs a pattern
    with the largest drop that is tolerated, in the metric's unit; the last that matches counts,
    0 without one. `alpha` is the family-wise false-alarm rate, `max_lost` the share of the
    baseline's items that the candidate may lack.
    """

    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    tolerances: tuple[tuple[str, float], ...] = ()
    alpha: float = 0.05
    max_lost: float = MAX_LOST
    seed: int = 0


@dataclass(frozen=True, slots=True)
class GateResult:
    """The gate's result: tested metrics, problems, and metrics without a baseline.

    `exit_code` is 2 if anything could not be compared, else 1 if a metric failed, else 0.
    """

    baseline: str
    candidate: str
    options: GateOptions
    checked: tuple[Checked, ...]
    problems: tuple[Problem, ...] = ()
    new: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[Checked, ...]:
        """Metrics with a significant drop beyond their tolerance."""
        return self.with_outcome("failed")

    @property
    def exit_code(self) -> Literal[0, 1, 2]:
        """The exit code of the command."""
        if self.problems:
            return 2
        return 1 if self.failed else 0

    def with_outcome(self, outcome: Outcome) -> tuple[Checked, ...]:
        """Return the metrics with this outcome."""
        return tuple(one for one in self.checked if one.outcome == outcome)


def run_gate(
    baseline: ScoresFile, candidate: ScoresFile, options: GateOptions | None = None
) -> GateResult:
    """Compare two scores files; pure, and the same for the same input.

    Raises:
        ConfigError: a pattern of `only` or `tolerances` matches no metric.
    """
    options = options or GateOptions()
    metrics = [*baseline.metrics, *candidate.metrics]
    require_known("--only", options.only, metrics)
    require_known("--tolerance", [pattern for pattern, _ in options.tolerances], metrics)
    found = pair_up(
        baseline,
        candidate,
        only=options.only,
        exclude=options.exclude,
        max_lost=options.max_lost,
    )
    checked = [check_one(pair, options, family=len(found.pairs)) for pair in found.pairs]
    settled = tuple(settle(checked, options.alpha))
    return GateResult(baseline.run, candidate.run, options, settled, found.problems, found.new)


def check_one(pair: Pair, options: GateOptions, *, family: int) -> Checked:
    """Test one of `family` metrics, not corrected yet."""
    # Of the tolerances the last that matches counts.
    drops = [drop for pattern, drop in options.tolerances if matches(pattern, pair.baseline)]
    tolerance = drops[-1] if drops else 0.0
    return check(pair, level=options.alpha / family, tolerance=tolerance, seed=options.seed)


def settle(checked: Sequence[Checked], alpha: float) -> list[Checked]:
    """Apply Holm's correction and decide each outcome."""
    worse = holm([one.p_value for one in checked])
    better = holm([one.p_better for one in checked])
    settled = []
    for one, p_worse, p_better in zip(checked, worse, better, strict=True):
        outcome: Outcome = "passed"
        if p_worse <= alpha:
            outcome = "failed" if -one.difference > one.tolerance else "tolerated"
        elif p_better <= alpha:
            outcome = "improved"
        settled.append(replace(one, adjusted=p_worse, adjusted_better=p_better, outcome=outcome))
    return settled


def parse_tolerances(texts: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """Read "PATTERN=DROP" options.

    Raises:
        ConfigError: one is not of that form, or its drop is no finite number ≥ 0.
    """
    found = []
    for text in texts:
        pattern, _, number = text.rpartition("=")
        try:
            drop = float(number)
        except ValueError:
            drop = math.nan
        if not pattern or not math.isfinite(drop) or drop < 0:
            message = f"--tolerance {text}: expected PATTERN=DROP, such as nlp=2"
            raise ConfigError(message)
        found.append((pattern, drop))
    return tuple(found)
