"""The command line: `srlm-train --iter 2 --config configs/quickstart.toml`, and `sweep`."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.command import Reuse, Version, results, run_command, runs_in
from core.config import Config, load_config
from core.errors import ConfigError
from core.progress import duration, say
from core.stages import Ref, parse_stage
from core.stages import stages_of as stages_of_iteration

if TYPE_CHECKING:
    from core.sweep import Sweep

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

_STALE = "stale"
_STAGES = ", ".join(dict.fromkeys(s.value for k in (0, 1, 2) for s in stages_of_iteration(k)))


Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Override, e.g. --set dpo.beta=0.2.")
]


@app.callback(
    invoke_without_command=True,
    help="Run the self-rewarding loop up to M_ITER; finished stages are not repeated.",
)
def train(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option(help="The run's TOML file.", show_default="required")
    ] = None,
    iteration: Annotated[
        int | None,
        typer.Option("--iter", min=1, help="Make M_ITER (default: `iterations` in the TOML)."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print stages, what exists and what would run.")
    ] = False,
    redo: Annotated[
        str | None,
        typer.Option(
            help=f"Rebuild STAGE or iterK/STAGE and all below, or 'stale'. Stages: {_STAGES}."
        ),
    ] = None,
    reuse: Reuse = None,
    settings: Settings = None,
    version: Version = False,  # noqa: ARG001 - printed by its callback
) -> None:
    """Parse the command line; heavy modules are imported afterwards."""
    if context.invoked_subcommand:
        return
    if config is None:
        raise ConfigError("Missing option '--config'.")
    from engines.precision import resolve

    others = runs_in(reuse)
    loaded = resolve(load_config(config, settings), reuse=others)
    k = iteration or loaded.iterations
    if dry_run:
        _print_plan(loaded, k, redo, others)
        return
    _train(loaded, k, redo, others)


@app.command(name="sweep")
def sweep_(
    file: Annotated[
        Path, typer.Argument(help="The sweep's TOML file, e.g. configs/sweeps/variants.toml.")
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print all runs, and what they share.")
    ] = False,
    redo: Annotated[
        str | None, typer.Option(help="'stale': rebuild what was made with other settings.")
    ] = None,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Stop at the first run that fails.")
    ] = False,
    settings: Settings = None,
) -> None:
    """Train and evaluate variants with several seeds; what they share is made once."""
    from core.sweep import load_sweep
    from training.sweep import raise_failures, run_sweep, table

    if redo not in (None, _STALE):
        raise ConfigError(f"--redo {redo!r}: of a sweep only 'stale'; redo one run's stages there")
    sweep = load_sweep(file, settings or ())
    if dry_run:
        _print_sweep(sweep, redo_stale=redo == _STALE)
        return
    ended = run_sweep(sweep, redo_stale=redo == _STALE, fail_fast=fail_fast)
    results().print(table(ended))
    raise_failures(sweep, ended)
    say(f"Compare them: srlm-report compare --group {file}")


def _print_sweep(sweep: Sweep, *, redo_stale: bool) -> None:
    from engines.precision import resolve
    from training.plan.sharing import others_in, sweep_table
    from training.preflight import check_files
    from training.sweep import reused

    folders = [folder for folder in reused(sweep) if folder.is_dir()]
    there = runs_in(folders)
    runs = [run._replace(config=resolve(run.config, reuse=there)) for run in sweep.runs]
    table = sweep_table(sweep._replace(runs=tuple(runs)), others_in(folders), redo_stale=redo_stale)
    results().print(table)
    for run in runs:
        check_files(run.config, run.config.iterations)


def _print_plan(config: Config, k: int, redo: str | None, reuse: list[Path]) -> None:
    from engines.precision import summary
    from training.plan.plan import plan, plan_table
    from training.plan.sharing import others_in, with_links
    from training.plan.tables import cost_tables
    from training.preflight import check_files

    out, rows = results(), plan(config, k, _named(redo, k), redo_stale=redo == _STALE)
    rows = with_links(config, rows, others_in(reuse))
    out.print(plan_table(config, k, rows))
    out.print(summary(config))
    for part in cost_tables(config, k, rows):
        out.print(part)
    check_files(config, k)  # last: what a run will cost is asked before its models are there


def _named(redo: str | None, k: int) -> Ref | None:
    """Return the artifact that `--redo` names; None for "stale".

    Raises:
        ConfigError: there is no such stage, or this command would not come to it.
    """
    if redo is None or redo == _STALE:
        return None
    ref = parse_stage(redo, k)
    if ref.iteration > k:
        message = f"--redo {redo!r}: this command makes M{k} at most; add --iter {ref.iteration}"
        raise ConfigError(message)
    return ref


def _train(config: Config, k: int, redo: str | None, reuse: list[Path]) -> None:
    from training.iterate import iterate
    from training.run import open_run
    from training.summary import models_made, summary_tables

    began = time.monotonic()
    first = _named(redo, k)  # and what it names is to be made again, here
    with open_run(config, redo_stale=redo == _STALE, reuse=() if first else reuse) as run:
        if first:
            run.redo(first)
        iterate(run, k)
        run.redone()
    out = results()
    for table in summary_tables(config, k):
        out.print(table)
    for name, folder in models_made(config, k):
        out.print(f"{name}: {folder}", soft_wrap=True)
    say(f"Done in {duration(time.monotonic() - began)}.")


main = partial(run_command, app)


if __name__ == "__main__":
    main()
