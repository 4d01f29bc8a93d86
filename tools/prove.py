"""Show that the loop learns from its judge: a run beside two controls that should not learn.

`make prove` runs the sweep configs/sweeps/prove.toml: M0 → M3 on the packaged task whose truth a
program knows (the quickstart), the same run with each prompt's scores shuffled among its answers,
and once more with chosen and rejected exchanged. The three share everything up to the judgments of
iteration 2. It prints the share of held-out prompts that every model follows, and ends with exit
code 1 unless, with each seed, M3 beats M1 in the run, does not in the shuffled control, and falls
in the swapped one.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from core.benchmarks import BENCHMARKS
from core.command import run_command
from core.paired import compare
from core.reader import RunReader
from core.sweep import load_sweep
from training.sweep import raise_failures, run_sweep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.config import Config
    from core.paired import Comparison
    from core.records import Score

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

SWEEP = Path("configs/sweeps/prove.toml")
METRIC = BENCHMARKS["ifeval"].headline
FIRST = "M1"
VARIANTS = ("run", "shuffled", "swapped")
_CERTAIN, _CHANCE = 0.01, 0.05


class Outcome(NamedTuple):
    """One of the three runs: the score of each model in percent, and its last one against M1."""

    name: str
    models: dict[str, Score]
    paired: Comparison


def failures(run: Outcome, shuffled: Outcome, swapped: Outcome) -> list[str]:
    """Return what does not hold of what `make prove` claims; [] if all does."""
    found = []
    (gain, p), (chance, chance_p), (fall, _) = map(_difference, (run, shuffled, swapped))
    if not (gain > 0 and p < _CERTAIN):
        found.append(f"the run's last model does not beat M1 (p = {p:.4f})")
    if chance > 0 and chance_p <= _CHANCE:
        found.append(f"with shuffled scores the last model beats M1 (p = {chance_p:.4f})")
    if not fall < 0:
        found.append("with chosen and rejected exchanged the last model does not fall")
    return found


def _difference(run: Outcome) -> tuple[float, float]:
    """Return the last model's lead over M1 and its p-value; none without a common prompt."""
    difference, p_value = run.paired.difference, run.paired.p_value
    return (0.0, 1.0) if difference is None or p_value is None else (difference, p_value)


def outcome(config: Config) -> Outcome:
    """Read one run's numbers; the test is paired by prompt (exact, two-sided)."""
    results = RunReader(config.folder)
    names = [f"M{k}" for k in results.iterations if k > 0]
    scores = {name: results.scores(f"{name}/ifeval")[METRIC] for name in names}
    last, first = (results.items(f"{name}/ifeval")[METRIC] for name in (names[-1], FIRST))
    paired = compare(last.values, first.values, scale=last.scale, seed=config.seed)
    return Outcome(config.run, scores, paired)


def show(outcomes: Sequence[Outcome]) -> None:
    """Print one row per run."""
    names = list(outcomes[0].models)
    table = Table(title="Held-out prompts followed, in percent, with 95 % intervals")
    for heading in ("run", *names, f"{names[-1]} − M1", "p"):
        table.add_column(heading, justify="left" if heading == "run" else "right")
    for one in outcomes:
        cells = [f"{s.value:.1f} [{s.low:.1f}, {s.high:.1f}]" for s in one.models.values()]
        difference, ends = one.paired.difference or 0.0, one.paired.interval
        shown = f" [{ends.low:+.1f}, {ends.high:+.1f}]" if ends else ""
        table.add_row(one.name, *cells, f"{difference:+.1f}{shown}", f"{one.paired.p_value:.4f}")
    Console(width=160).print(table)


@app.command()
def prove(
    file: Annotated[Path, typer.Option("--sweep", help="The sweep of the three.")] = SWEEP,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Override, e.g. --set prompts.count=48.")
    ] = None,
) -> None:
    """Run the sweep and judge the outcome."""
    sweep = load_sweep(file, settings or ())
    raise_failures(sweep, run_sweep(sweep))
    found = {(run.variant, run.seed): outcome(run.config) for run in sweep.runs}
    show([*found.values()])
    problems = [
        f"seed {seed}: {problem}"
        for seed in dict.fromkeys(run.seed for run in sweep.runs)
        for problem in failures(*(found[variant, seed] for variant in VARIANTS))
    ]
    for problem in problems:
        sys.stderr.write(f"not shown: {problem}\n")
    raise typer.Exit(1 if problems else 0)


main = partial(run_command, app)


if __name__ == "__main__":
    main()
