"""Coverage of every interval the product prints, simulated: how often it holds the true value.

    python -m benchmarks.coverage [--runs 1000] [--only net lengths] [--out docs/coverage.md]

Each kind draws n independent items (comparisons, prompts, questions, tasks) from a population whose
value is known and asks for the interval by the function that the benchmarks use. 95 % is promised.
A sample that has no interval (all lengths equal, too few for a correlation) claims nothing and is
left out, but counted. The table in docs/coverage.md is this program's.
"""

from __future__ import annotations

import argparse
import math
from functools import lru_cache
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from core.correlations import spearman
from core.intervals import (
    Interval,
    average_interval,
    correlation_interval,
    length_interval,
    mean_interval,
    ratio_interval,
    wilson,
)
from core.paired import difference_interval, net_interval, tango
from core.seeds import over_seeds, paired_seeds
from evaluation.human.krippendorff import krippendorff_alpha

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


SIZES = (2, 5, 8, 12, 24, 50, 200)
RATES = (0.03, 0.1, 0.5, 0.9)
LEAST = 0.93
_MANY = 40_000  # items from which a true value is measured where it has no formula
_ROUNDING = 1e-9
_PAGE = Path("docs/coverage.md")
_TABLE = "<!-- table -->"


class Draw(NamedTuple):
    """An interval of n drawn items, and the true value."""

    interval: Interval | None
    truth: float


class Kind(NamedTuple):
    """A kind of interval: what prints it, the function that draws one, and its populations.

    `least`: the coverage that is asked of it.
    """

    what: str
    draw: Callable[[np.random.Generator, int, float], Draw]
    rates: tuple[float, ...] = RATES
    sizes: tuple[int, ...] = SIZES
    costly: bool = False
    least: float = LEAST


class Cell(NamedTuple):
    """How often the interval held the true value, among the runs that had one."""

    held: int
    intervals: int
    runs: int

    @property
    def coverage(self) -> float | None:
        """The share; None where no run had an interval."""
        return self.held / self.intervals if self.intervals else None


def simulate(kind: Kind, n: int, rate: float, *, runs: int, seed: int = 0) -> Cell:
    """Draw `runs` samples of n items; the same seed, the same cell."""
    rng = np.random.default_rng([seed, n, round(1000 * rate)])
    held = intervals = 0
    for _ in range(runs):
        interval, truth = kind.draw(rng, n, rate)
        if interval is not None:
            intervals += 1
            held += interval.low - _ROUNDING <= truth <= interval.high + _ROUNDING
    return Cell(held, intervals, runs)


def _share(rng: np.random.Generator, n: int, rate: float) -> Draw:
    return Draw(wilson(int(rng.binomial(n, rate)), n), rate)


def _preferences(rng: np.random.Generator, n: int, rate: float) -> Draw:
    """Judge probabilities: most near 0 or 1."""
    return Draw(wilson(float(_soft(rng, n, rate).sum()), n), rate)


def _clustered(rng: np.random.Generator, n: int, rate: float) -> Draw:
    """One to six replies to each of n prompts, right with a probability of the prompt's own."""
    sizes = rng.integers(1, 7, n)
    right = rng.binomial(sizes, _of_clusters(rng, n, rate, 0.3))
    return Draw(ratio_interval(right.tolist(), sizes.tolist()), rate)


def _all_or_nothing(rng: np.random.Generator, n: int, rate: float) -> Draw:
    """Four replies to each of n prompts, all right or all wrong."""
    right = 4.0 * (rng.random(n) < rate)
    return Draw(ratio_interval(right.tolist(), [4.0] * n), rate)


def _grades(rng: np.random.Generator, n: int, rate: float) -> Draw:
    """Two turns of n questions, graded 1..10 around a difficulty of the question's own."""
    grades = 1.0 + rng.binomial(9, _of_clusters(rng, n, rate, 1 / 3)[:, None], (n, 2)).ravel()
    labels = np.repeat(np.arange(n), 2).tolist()
    return Draw(mean_interval(grades.tolist(), labels, scale=(1.0, 10.0)), 1 + 9 * rate)


def _ranks(rng: np.random.Generator, n: int, rate: float) -> Draw:
    """Kendall's tau of three replies: three pairs, each in the human order or not."""
    taus = 2 * rng.binomial(3, rate, n) / 3 - 1
    return Draw(mean_interval(taus.tolist(), scale=(-1.0, 1.0)), 2 * rate - 1)


def _net(rng: np.random.Generator, n: int, rate: float) -> Draw:
    """Wins; half of the other comparisons are lost, half tied."""
    wins, losses, _ = rng.multinomial(n, [rate, (1 - rate) / 2, (1 - rate) / 2])
    return Draw(net_interval(int(wins), int(losses), n), rate - (1 - rate) / 2)


def _paired_items(rng: np.random.Generator, n: int, rate: float) -> Draw:
    """Two models that have the same difficult items: `rate` of the items tell them apart."""
    gained, lost, _ = rng.multinomial(n, [0.7 * rate, 0.3 * rate, 1 - rate])
    return Draw(tango(int(gained), int(lost), n), 0.4 * rate)


def _paired_preferences(rng: np.random.Generator, n: int, rate: float) -> Draw:
    """A model preferred at `rate` and one at 30 %."""
    return _paired(_soft(rng, n, rate) - _soft(rng, n, 0.3), 1.0, rate - 0.3)


def _paired_grades(rng: np.random.Generator, n: int, rate: float) -> Draw:
    """Two turns of n questions; the second model is a tenth worse on each."""
    q = _of_clusters(rng, n, rate, 1 / 3)[:, None]
    a, b = (1.0 + rng.binomial(9, f * q, (n, 2)) for f in (1.0, 0.9))
    return _paired((a - b).ravel(), 9.0, 0.9 * rate, turns=2)


def _paired_lengths(rng: np.random.Generator, n: int, rate: float) -> Draw:
    """Answers of two models, log-normal with deviation `rate`, the second a fifth longer."""
    a, b = (m * np.exp(rate * rng.standard_normal(n)) for m in (500.0, 600.0))
    return _paired(a - b, None, -100 * math.exp(rate**2 / 2))


def _tasks(rng: np.random.Generator, n: int, rate: float) -> Draw:
    """Nine tasks of n to 5 n items with shares around `rate`."""
    spread = min(rate, 1 - rate)
    shares = rate + spread * np.linspace(-0.8, 0.8, 9)
    sizes = n * np.array([1, 2, 5, 1, 2, 5, 1, 2, 5])
    return _average(rng.binomial(sizes, shares) / sizes, sizes, rate)


def _subjects(rng: np.random.Generator, n: int, rate: float) -> Draw:
    """MMLU's 57 subjects of n items each, half of them harder."""
    shares = rate + min(rate, 1 - rate) * np.where(np.arange(57) % 2, 0.5, -0.5) * 56 / 57
    sizes = np.full(57, n)
    return _average(rng.binomial(sizes, shares) / sizes, sizes, float(shares.mean()))


def _lengths(rng: np.random.Generator, n: int, rate: float) -> Draw:
    """Log-normal lengths whose logarithms deviate by `rate`."""
    return Draw(
        length_interval(np.exp(rate * rng.standard_normal(n)).tolist()), math.exp(rate**2 / 2)
    )


def _correlation(rng: np.random.Generator, n: int, rate: float) -> Draw:
    """Scores 0..5 of two judges for four answers to each of n prompts; `rate` is their noise."""
    rows = [*map(tuple, _scores(rng, n, rate).tolist())]
    prompts = [rows[at : at + 4] for at in range(0, 4 * n, 4)]

    def pooled(drawn: Sequence[Sequence[tuple[float, ...]]]) -> float | None:
        x, y = zip(*(row for prompt in drawn for row in prompt), strict=True)
        return spearman(x, y)

    if pooled(prompts) is None:
        return Draw(None, 0.0)
    return Draw(correlation_interval(prompts, pooled), _true_correlation(rate))


@lru_cache
def _true_correlation(rate: float) -> float:
    x, y = _scores(np.random.default_rng(0), _MANY, rate).T
    return spearman(x.tolist(), y.tolist()) or 0.0


def _scores(rng: np.random.Generator, n: int, noise: float) -> np.ndarray:
    quality = rng.standard_normal((n, 4)) + 0.7 * rng.standard_normal((n, 1))
    noisy = 3 + quality[..., None] + noise * rng.standard_normal((n, 4, 2))
    return np.clip(np.round(noisy), 0, 5).reshape(-1, 2)


def _alpha(rng: np.random.Generator, n: int, rate: float) -> Draw:
    """Three people's votes; each is the item's own with probability `rate`, else by chance."""
    sides, shares = ("A", "tie", "B"), (0.45, 0.1, 0.45)
    own = rng.choice(3, (n, 1), p=shares)
    votes = np.where(rng.random((n, 3)) < rate, own, rng.choice(3, (n, 3), p=shares))
    units = [[sides[vote] for vote in row] for row in votes.tolist()]
    score = krippendorff_alpha("", units, sides, level="nominal")
    if score.low is None or score.high is None:
        return Draw(None, 0.0)
    # Two votes are equal if both are the item's own, or by chance.
    return Draw(Interval(score.low, score.high), rate**2)


def _soft(rng: np.random.Generator, n: int, rate: float) -> np.ndarray:
    return rng.beta(0.3 * rate, 0.3 * (1 - rate), n)


def _of_clusters(rng: np.random.Generator, n: int, rate: float, inside: float) -> np.ndarray:
    """Return a probability per cluster, of mean `rate` and correlation `inside`."""
    weight = (1 - inside) / inside
    return rng.beta(rate * weight, (1 - rate) * weight, n)


def _paired(differences: np.ndarray, most: float | None, truth: float, *, turns: int = 1) -> Draw:
    clusters = [at // turns for at in range(len(differences))]
    return Draw(difference_interval(differences.tolist(), clusters, most=most), truth)


def _average(shares: np.ndarray, sizes: np.ndarray, truth: float) -> Draw:
    errors = shares * (1 - shares) / np.maximum(1, sizes - 1)
    stderr = math.sqrt(float(errors.sum())) / len(shares)
    return Draw(average_interval(shares.tolist(), sizes.tolist(), stderr), truth)


def _runs(rng: np.random.Generator, n: int, rate: float) -> Draw:
    """N runs whose accuracy on the same 160 items varies by `rate` points."""
    values = np.round(1.6 * rng.normal(60.0, rate, n)) / 1.6
    return Draw(over_seeds(values.tolist(), (0.0, 100.0)).interval, 60.0)


def _paired_runs(rng: np.random.Generator, n: int, rate: float) -> Draw:
    """N seeds of two settings on the same 60 items.

    An item is right where skill, its ease (for both settings and for each), the seed's luck, which
    deviates by `rate`, and chance together are above 0; the second setting's skill is higher.
    """
    ease, skill, own = rng.standard_normal(60), 0.3, 0.3
    a, b = (
        100.0
        * (ease + shift + own * rng.standard_normal(60) + rate * rng.standard_normal((n, 1))
           + rng.standard_normal((n, 60)) > 0)
        for shift in (0.0, skill)
    )  # fmt: skip
    names = [str(at) for at in range(60)]
    firsts, others = ([dict(zip(names, row, strict=True)) for row in x.tolist()] for x in (a, b))
    found = paired_seeds(others, firsts)
    deviation = math.sqrt(2 + own * own + rate * rate)
    truth = 100 * (NormalDist().cdf(skill / deviation) - 0.5)
    return Draw(found.interval if found is not None else None, truth)


_SPREADS = (0.3, 0.6, 1.0)
KINDS = {
    "share": Kind("win, tie, lose; NLP accuracy; IFEval by prompt; exact match; pairs confirmed; "
                  "flagged prompts; LLMBar", _share),
    "win rate": Kind("AlpacaEval, also by kind of instruction", _preferences),
    "share in clusters": Kind("parse rate, pairwise accuracy, 5-best, tie rate, same order, IFEval "
                              "by instruction, two annotators agree", _clustered),
    "all or nothing": Kind("the same, where the answers to a prompt are all alike",
                           _all_or_nothing),
    "grades": Kind("MT-Bench and its categories; mean scores by a judge", _grades),
    "rank correlation": Kind("Spearman and Kendall per prompt", _ranks),
    "net": Kind("wins minus losses of a judge or of people", _net),
    "right or wrong, paired": Kind("alignment tax, gate, compare", _paired_items),
    "preferences, paired": Kind("AlpacaEval in gate and compare", _paired_preferences),
    "grades, paired": Kind("MT-Bench in gate and compare; self-judge against external judge",
                           _paired_grades),
    "average of tasks": Kind("NLP average (nine tasks of n to 5 n items)", _tasks),
    "macro mean": Kind("MMLU (57 subjects of n items)", _subjects),
    "alpha": Kind("Krippendorff's alpha of three people", _alpha, (0.1, 0.5, 0.9, 0.97)),
    "lengths": Kind("mean characters", _lengths, _SPREADS, least=0.91),
    "lengths, paired": Kind("chosen minus rejected, M_k minus M_{k−1}", _paired_lengths, _SPREADS),
    "pooled correlation": Kind("Spearman over all answers", _correlation, (0.1, 0.3, 1.0, 3.0),
                               SIZES[1:-1], costly=True),
    "over seeds": Kind("a variant's mean (n: seeds; rate: their deviation in points)", _runs,
                       (1.0, 3.0, 10.0), SIZES[:3]),
    "over seeds, paired": Kind("difference of two variants (n: seeds; rate: what a seed is worth, "
                               "beside 1 for chance)", _paired_runs, (0.0, 0.1, 0.3), SIZES[:3]),
}  # fmt: skip


def table(runs: int, names: Sequence[str]) -> tuple[list[str], float]:
    """Return the table's lines in Markdown, and the least coverage in it."""
    lines = [
        f"| interval | rate | {' | '.join(f'n = {n}' for n in SIZES)} |",
        f"|---|---|{'---|' * len(SIZES)}",
    ]
    least = 1.0
    for name in names:
        kind = KINDS[name]
        for at, rate in enumerate(kind.rates):
            cells = []
            for n in SIZES:
                times = max(100, runs // 10) if kind.costly else runs
                cell = simulate(kind, n, rate, runs=times) if n in kind.sizes else Cell(0, 0, times)
                cells.append(_shown(cell))
                least = min(least, cell.coverage if cell.coverage is not None else 1.0)
            head = f"**{name}**: {kind.what}" if at == 0 else ""
            lines.append(f"| {head} | {rate:g} | {' | '.join(cells)} |")
    return lines, least


def _shown(cell: Cell) -> str:
    if cell.coverage is None:
        return "–"
    without = 1 - cell.intervals / cell.runs
    share = f"{cell.coverage:.3f}"
    return f"{share} ({100 * without:.0f} % none)" if without >= 0.005 else share  # noqa: PLR2004


def main() -> None:
    """Print the table, or put it into the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--out", type=Path, help=f"page whose table is replaced, {_PAGE}")
    chosen = parser.parse_args()
    lines, least = table(chosen.runs, chosen.only)
    lines.append("")
    lines.append(f"Least coverage: {least:.3f}; {chosen.runs:,} samples a cell.")
    if chosen.out is None:
        print("\n".join(lines))  # noqa: T201 - what the command is for
    else:
        before, _, after = chosen.out.read_text(encoding="utf-8").split(_TABLE)
        text = _TABLE.join((before, "\n\n" + "\n".join(lines) + "\n\n", after))
        chosen.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
