"""Measure speed against other tools: `make bench`.

    python -m benchmarks [--only judge_k3,arc0] [--repeats 3] [--out results.json]

Both sides alternate in one process, five repeats; see docs/measurements.md.
"""

from __future__ import annotations

import os
from pathlib import Path  # noqa: TC003 - typer reads signatures when it runs
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks.workloads import BY_NAME, GROWTH, WORKLOADS, measure_of
from core.command import results as console_of_results
from core.command import run_command
from core.errors import ConfigError
from core.progress import say
from core.stages import project_root

if TYPE_CHECKING:
    from benchmarks.comparison import Row
    from benchmarks.machine import Machine

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def bench(
    only: Annotated[str, typer.Option(help="workloads to measure, by comma; all if empty")] = "",
    repeats: Annotated[int, typer.Option(min=1, help="times that each side is measured")] = 5,
    out: Annotated[Path | None, typer.Option(help="file to merge the results into")] = None,
) -> None:
    """Measure the workloads, merge them into results.json, print the table."""
    names = wanted(only)
    # Nothing is fetched: what is not on this machine is missing in the table.
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    from benchmarks.machine import measure_machine
    from benchmarks.results import merge_results
    from benchmarks.table import growth_table, side_by_side

    path = out or project_root() / "benchmarks" / "results.json"
    machine = measure_machine()
    say(
        f"{machine.cpu}, {machine.threads} threads: {machine.gflops:.0f} GFLOP/s float32, "
        f"{machine.gbytes_s:.0f} GB/s"
    )
    merged = merge_results(path, {"machine": machine.plain()})
    for name in names:
        say(f"{name} …")
        found = _growth() if name == GROWTH else _row(name, machine, repeats)
        merged = merge_results(path, {name: found})
    console = console_of_results()
    console.print(side_by_side(merged))
    if merged.get(GROWTH):
        console.print(growth_table(merged[GROWTH]))
    console.print(f"written to {path}")


def wanted(only: str) -> list[str]:
    """Return the names of the workloads to measure, in the table's order.

    Raises:
        ConfigError: there is no workload of that name.
    """
    known = [*(workload.name for workload in WORKLOADS), GROWTH]
    asked = {name.strip() for name in only.split(",") if name.strip()}
    if unknown := sorted(asked - set(known)):
        names = ", ".join(unknown)
        raise ConfigError(f"--only: no such workload: {names}; there are {', '.join(known)}")
    return [name for name in known if not asked or name in asked]


def _row(name: str, machine: Machine, repeats: int) -> Row:
    from benchmarks.comparison import missing
    from engines.precision import bfloat16_is_faster

    workload = BY_NAME[name]
    if workload.bfloat16 and not bfloat16_is_faster("cpu"):
        row = missing("", "bfloat16 products are not faster on this machine")
    else:
        row = measure_of(workload)(machine, repeats)
    if "missing" in row:
        say(f"  missing: {row['missing']}")
    else:
        say(f"  {row['ratio_median']:.2f}× {row['peer']}")
    return {**row, "date": machine.date}


def _growth() -> list[dict[str, Any]]:
    from benchmarks.pools import growth

    return growth()


def main() -> None:
    """Run the command line."""
    run_command(app)


if __name__ == "__main__":
    main()
