"""What all command lines share: errors as one line, and exit codes."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from core.errors import ConfigError, SrlmError, StorageError, shortened
from core.progress import say
from core.stages import Paths
from core.version import code_version

if TYPE_CHECKING:
    from collections.abc import Sequence


def run_command(app: typer.Typer) -> None:
    """Run a command line; expected errors end in one line and their exit code.

    0 done; 1 the command completed but reports a failure; 2 wrong input, setting or usage, or a
    full disk; 130 interrupted. What stdout's encoding lacks is printed as its code.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = app(standalone_mode=False)  # what a typer.Exit carried, None without one
    except SrlmError as error:
        _fail(str(error), error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        _fail("interrupted; finished work is kept; run the same command to resume", 130)
    except OSError as error:
        named = f"{error.filename or 'file'}: {error.strerror}"
        _fail(str(StorageError(f"{named}; finished work is kept")), 2)
    except Exception as error:
        if not hasattr(error, "format_message"):  # click's usage errors have it
            raise
        _fail(error.format_message(), ConfigError.exit_code)
    else:
        sys.exit(code or 0)


def _show_version(wanted: bool) -> None:
    if wanted:
        results().print(f"srlm {code_version()}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
]

Reuse = Annotated[
    list[Path] | None,
    typer.Option(
        "--reuse",
        help="Take artifacts with the same key from this run, or the runs in this folder, by hard "
        "links; repeatable.",
    ),
]


def runs_in(folders: Sequence[Path] | None) -> list[Path]:
    """Return the runs that `--reuse` names: each folder itself, or all that it holds.

    Raises:
        ConfigError: one is not there.
    """
    found = []
    for folder in folders or ():
        if not folder.is_dir():
            message = f"--reuse {folder}: no such folder"
            raise ConfigError(message)
        configs = [Paths(folder).config, *sorted(folder.glob("*/config.json"))]
        found += [path.parent for path in configs if path.is_file()]
    return found


def results() -> Console:
    """Return the console for results (stdout): wide enough for a table when it is no terminal."""
    return Console(width=None if sys.stdout.isatty() else 120, highlight=False)


def _fail(message: str, code: int) -> None:
    say(f"error: {' '.join(shortened(message).splitlines())}")
    sys.exit(code)
