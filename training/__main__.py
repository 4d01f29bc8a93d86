"""The command line: `srlm-train --iter 2 --config configs/quickstart.toml`."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from core.command import Version, results, run_command
from core.config import Config, load_config
from core.errors import ConfigError
from core.progress import duration, say
from core.stages import Ref, parse_stage
from core.stages import stages_of as stages_of_iteration

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

_STALE = "stale"
_STAGES = ", ".join(dict.fromkeys(s.value for k in (0, 1, 2) for s in stages_of_iteration(k)))


@app.command(help="Run the self-rewarding loop up to M_ITER; finished stages are not repeated.")
def train(
    config: Annotated[Path, typer.Option(help="The run's TOML file.")],
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
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Override, e.g. --set dpo.beta=0.2.")
    ] = None,
    version: Version = False,  # noqa: ARG001 - printed by its callback
) -> None:
    """Parse the command line; heavy modules are imported afterwards."""
    from engines.precision import resolve

    loaded = resolve(load_config(config, settings))
    k = iteration or loaded.iterations
    if dry_run:
        _print_plan(loaded, k, redo)
        return
    _train(loaded, k, redo)


def _print_plan(config: Config, k: int, redo: str | None) -> None:
    from engines.precision import summary
    from training.plan.plan import plan, plan_table
    from training.plan.tables import cost_tables
    from training.preflight import check_files

    out, rows = results(), plan(config, k, _named(redo, k), redo_stale=redo == _STALE)
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


def _train(config: Config, k: int, redo: str | None) -> None:
    from training.iterate import iterate
    from training.run import open_run
    from training.summary import models_made, summary_tables

    began = time.monotonic()
    with open_run(config, redo_stale=redo == _STALE) as run:
        if first := _named(redo, k):
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
