"""What each process of a launched training stage runs: `python -m training.launch.worker JOB`.

Started by training/launch/launch.py through `accelerate launch`; not meant to be typed.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from rich.console import Console

from core import jsonl, progress
from core.errors import SrlmError
from core.records import LedgerRow
from core.store import write_atomically
from training.launch.processes import MARK, is_first
from training.trainers.job import TrainingJob

if TYPE_CHECKING:
    from core.store import Built

_POLL_S = 0.2


def main(path: Path) -> None:
    """Run the job in `path`; the first process writes `result.json` beside it."""
    job = TrainingJob.model_validate_json(path.read_text())
    end_with(os.getppid(), job.pid if job.host == socket.gethostname() else None)
    console = Console(file=Marked(sys.stderr), highlight=False, soft_wrap=True)  # type: ignore[arg-type]
    progress.console = console if is_first() else Console(quiet=True)
    rank = int(os.environ.get("RANK", "0"))
    failed = path.with_name(f"error-{rank}.json")
    try:
        built = train(job, path.with_name("rows.jsonl"))
    except SrlmError as error:
        _write_error(failed, error)
        sys.exit(error.exit_code)
    except Exception as error:
        _write_error(failed, error)
        raise
    if built and is_first():
        write_atomically(path.with_name("result.json"), json.dumps(asdict(built)))


def train(job: TrainingJob, rows: Path) -> Built | None:
    """Train one stage together with the other processes; None if it pauses to be judged."""
    if job.sft:
        from training.trainers.encoding import Row
        from training.trainers.sft import train_sft

        return train_sft(job, [Row(**row) for _, row in jsonl.read_objects(rows)])
    from training.trainers import dpo

    pairs = jsonl.read_records(rows, LedgerRow)
    if job.pausing:
        dpo.train(job, pairs)
        return None
    return dpo.train_dpo(job, pairs)


def _write_error(path: Path, error: Exception) -> None:
    path.write_text(json.dumps({"error": type(error).__name__, "message": str(error)}))


class Marked:
    """A stream whose every line begins with the mark that the launching process looks for."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write whole lines, marked."""
        for line in text.splitlines():
            self._stream.write(f"{MARK}{line}\n")
        return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        self._stream.flush()


def end_with(launcher: int, loop: int | None) -> None:
    """End this process as soon as its launcher or the loop has died (within a fifth of a second).

    torchrun puts its processes into sessions of their own, so a kill -9 of the loop's process group
    does not reach them; they would train on beside the run that resumes.
    """

    def watch() -> None:
        while os.getppid() == launcher and (loop is None or _is_alive(loop)):
            time.sleep(_POLL_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    main(Path(sys.argv[1]))
