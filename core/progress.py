"""Progress of long work: a live bar on a terminal, otherwise a line every 15 seconds."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import Task

_PLAIN_INTERVAL_S = 15.0
_LEAST_SHARE_TO_JUDGE = 0.1

console = Console(stderr=True, highlight=False, soft_wrap=True)


class Advance(Protocol):
    """Report finished work: rows, and the tokens they cost (for the rate)."""

    def __call__(self, rows: int = 1, *, tokens: int = 0) -> None:
        """Add to what is done."""
        ...


def say(message: str) -> None:
    """Print one line for people (stderr, so that stdout stays for results)."""
    console.print(message, markup=False)


def duration(seconds: float) -> str:
    """Return seconds as people read them: `8.4 s`, `3 min 20 s`, `2 h 05 min`."""
    if round(seconds, 1) < 60:  # noqa: PLR2004 - seconds in a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:  # noqa: PLR2004 - minutes in an hour
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


class _RateColumn(TextColumn):
    """Rows (or tokens, once any were reported) per second since the bar began."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Task) -> object:  # type: ignore[override]
        elapsed = task.elapsed or 0.0
        tokens = task.fields["tokens"]
        amount = tokens or (task.completed - task.fields["resumed"])
        unit = "tokens/s" if tokens else "rows/s"
        return f"{amount / elapsed:.1f} {unit}" if elapsed > 0 else ""


def track(title: str, total: int, *, resumed: int = 0) -> AbstractContextManager[Advance]:
    """Show the progress of `total` rows, `resumed` of which an earlier run had finished."""
    return _bar(title, total, resumed) if console.is_terminal else _plain(title, total, resumed)


@contextmanager
def _bar(title: str, total: int, resumed: int) -> Iterator[Advance]:
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=total, completed=resumed, tokens=0, resumed=resumed)

        def advance(rows: int = 1, *, tokens: int = 0) -> None:
            seen = bar.tasks[task].fields["tokens"]
            bar.update(task, advance=rows, tokens=seen + tokens)

        yield advance


@contextmanager
def _plain(
    title: str, total: int, resumed: int, clock: Callable[[], float] = time.monotonic
) -> Iterator[Advance]:
    began = last = clock()
    done, spent = resumed, 0

    def advance(rows: int = 1, *, tokens: int = 0) -> None:
        nonlocal done, spent, last
        done, spent = done + rows, spent + tokens
        now = clock()
        if now - last < _PLAIN_INTERVAL_S or done >= total:
            return
        last = now
        rate = f", {spent / (now - began):.0f} tokens/s" if spent else ""
        # Rows of a batch finish together: no estimate from the first few.
        enough = done - resumed >= _LEAST_SHARE_TO_JUDGE * (total - resumed)
        per_row = (now - began) / max(1, done - resumed)
        left = f", about {duration(per_row * (total - done))} left" if enough else ""
        say(f"  {title}: {done}/{total}{rate}{left}")
        sys.stderr.flush()

    yield advance
