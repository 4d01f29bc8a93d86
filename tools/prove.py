"""Show that the loop learns from its judge: a run beside two controls that should not learn.

`make prove` runs M0 → M3 on the packaged task whose truth a program knows (the quickstart), the
same run with each prompt's scores shuffled among its answers, and once more with chosen and
rejected exchanged. The three share everything up to the judgments of iteration 2. It prints the
share of held-out prompts that every model follows, and ends with exit code 1 unless M3 beats M1 in
the run, does not in the shuffled control, and falls in the swapped one.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console
from rich.table import Table

from core.benchmarks import BENCHMARKS
from core.config import load_config
from core.paired import compare
from core.reader import RunReader
from core.stages import Stage, stages_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.config import Config
    from core.paired import Comparison
    from core.records import Score

METRIC = BENCHMARKS["ifeval"].headline
FIRST = "M1"
CONTROLS = ("shuffled", "swapped")
_CERTAIN, _CHANCE = 0.01, 0.05
_SHARED = 2  # the first iteration in which the controls differ
_OWN = (Stage.PAIRS, Stage.MODEL)  # what differs there


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


def make(path: Path, settings: Sequence[str]) -> None:
    """Train a run and check its models on the held-out prompts; raises if a command fails."""
    config = load_config(path, [*settings])
    given = [word for setting in settings for word in ("--set", setting)]
    models = ",".join(f"M{k}" for k in range(1, config.iterations + 1))
    checks = ["run", "--only", "ifeval,truth", "--models", models]
    for package, extra in (("training", []), ("evaluation", checks)):
        command = [sys.executable, "-m", package, *extra, "--config", str(path), *given]
        subprocess.run(command, check=True)  # noqa: S603 - the caller's own words


def share(source: Path, target: Path) -> None:
    """Give a control the artifacts that it shares with the run, without copying their bytes."""
    own = {stage.value for stage in _OWN}
    for k in range(_SHARED + 1):
        for stage in stages_of(k):
            for path in (source / f"iter{k}").glob(f"{stage.value}*"):
                name = path.name.split(".")[0]
                copy = target / f"iter{k}" / path.name
                if name != stage.value or (k == _SHARED and name in own) or copy.exists():
                    continue
                copy.parent.mkdir(parents=True, exist_ok=True)
                if path.is_dir():
                    shutil.copytree(path, copy, symlinks=True, copy_function=os.link)
                else:
                    os.link(path, copy)


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


def main() -> None:
    """Run all three and judge the outcome."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tools.prove")
    parser.add_argument("--config", type=Path, default=Path("configs/quickstart.toml"))
    parser.add_argument("--set", action="append", default=[], metavar="a.b=value", dest="settings")
    given = parser.parse_args()
    config = load_config(given.config, given.settings)
    make(given.config, given.settings)
    outcomes = [outcome(config)]
    for control in CONTROLS:
        name = f"{config.run}-{control}"
        settings = [*given.settings, f"run={name}", f"pairs.control={control}"]
        share(config.folder, config.folder.with_name(name))
        make(given.config, settings)
        outcomes.append(outcome(load_config(given.config, settings)))
    show(outcomes)
    found = failures(*outcomes)
    for problem in found:
        sys.stderr.write(f"not shown: {problem}\n")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
