"""Training on several machines: `python -m training.follow` on each but the first.

The loop runs on machine 0. Each other machine runs this; it waits for training stages to be
launched in the run's folder, which must be on a shared disk, and starts its own processes of each.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path  # noqa: TC003 - typer reads signatures when it runs
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError

from core.command import run_command
from core.config import Config, load_config
from core.errors import ConfigError
from core.progress import say
from core.stages import model_ref
from core.store import Store
from training.launch import command as launch_command
from training.trainers.job import TrainingJob

if TYPE_CHECKING:
    from collections.abc import Iterator

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

_POLL_S = 1.0


@app.command(help="Take part, as one of several machines, in a run's training up to M_ITER.")
def follow(
    config: Annotated[Path, typer.Option(help="The run's TOML file, as on machine 0.")],
    machine_rank: Annotated[
        int, typer.Option(min=1, envvar="MACHINE_RANK", help="This machine's number, from 1.")
    ],
    iteration: Annotated[
        int | None,
        typer.Option("--iter", min=1, help="End once M_ITER exists (default: `iterations`)."),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Override, as on machine 0.")
    ] = None,
) -> None:
    """Parse the command line; start this machine's processes until the last model exists."""
    loaded = load_config(config, settings)
    place = launch_command.layout(loaded.launch)
    if machine_rank >= place.machines:
        raise ConfigError(
            f"{place.file}: no machine {machine_rank}; it has {place.machines} machines, from 0"
        )
    for job in launches(loaded, iteration or loaded.iterations):
        words = launch_command.command(loaded.launch, place, job, rank=machine_rank)
        log = job.with_name(f"log-{machine_rank}.txt")
        say(f"{job.parent.parent}: machine {machine_rank} takes part")
        code = launch_command.run_logged(words, log)
        if code:
            say(f"  ended with exit code {code}; see the output of machine 0, and {log}")


def launches(config: Config, k: int) -> Iterator[Path]:
    """Yield the job file of each launch once, as it begins, until M_k exists."""
    store, seen = Store(config.folder), set()
    while not store.exists(model_ref(k)):
        for path in store.paths.root.glob("iter*/*.work/launch/job.json"):
            attempt = _attempt(path)
            if attempt and attempt not in seen:
                seen.add(attempt)
                yield path
        time.sleep(_POLL_S)


def _attempt(path: Path) -> str | None:
    """Return the id of the launch that wrote a job file; None if the file is just being removed."""
    try:
        return TrainingJob.model_validate_json(path.read_text()).attempt
    except (FileNotFoundError, ValidationError):
        return None


main = partial(run_command, app)


if __name__ == "__main__":
    main()
