"""Training stages in their own processes, started by `accelerate launch`.

The loop stays one process. It writes the rows to train on and the job into the stage's work folder,
starts worker.py in as many processes as the accelerate configuration says, shows their progress,
and takes the model they leave. Judged early stopping happens between launches: the processes end at
each checkpoint that is judged and are started again afterwards, so judge and training never share a
GPU, and all processes agree on where training stops.
"""

from __future__ import annotations

import json
import os
import socket
import uuid
from typing import TYPE_CHECKING

from core import errors, jsonl
from core.errors import ConfigError, SrlmError, disk_errors_named
from core.store import Built, write_atomically
from training.launch.command import command, layout, run_logged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from core.config import LaunchSection
    from core.records import LedgerRow
    from training.trainers.early_stopping import CheckpointJudge
    from training.trainers.encoding import Row
    from training.trainers.job import TrainingJob

_LAST_LINES = 3


def train_sft(job: TrainingJob, rows: Sequence[Row], section: LaunchSection) -> Built:
    """Run `sft.train_sft` in launched processes; raises as `Launch.start` does."""
    launched = Launch(section, job)
    launched.write_rows(json.dumps(row._asdict(), ensure_ascii=False) for row in rows)
    return launched.result()


def train_dpo(
    job: TrainingJob,
    pairs: Sequence[LedgerRow],
    section: LaunchSection,
    judge: CheckpointJudge | None,
    release: Callable[[], None],
) -> Built:
    """Run `dpo.train_dpo` in launched processes; checkpoints are judged in this one.

    `release` frees the judge's engines: the processes need the memory. Raises as `Launch.start`.
    """
    launched = Launch(section, job.model_copy(update={"pausing": judge is not None}))
    launched.write_rows(map(jsonl.encode, pairs))
    if judge is None:
        return launched.result()
    from training.trainers import dpo

    train_until_judged(launched.start, job.work, judge, release)
    return dpo.choose(dpo.TrainResult.read(job.work), job, judge)


def train_until_judged(
    train_on: Callable[[], None], work: Path, judge: CheckpointJudge, release: Callable[[], None]
) -> None:
    """Let `train_on` train from one judged checkpoint to the next, until the judge or the end.

    What a killed run had trained or judged is not repeated.
    """
    while not _is_over(work, judge):
        release()
        train_on()


def _is_over(work: Path, judge: CheckpointJudge) -> bool:
    """Judge the newest checkpoint if it is time; return whether training ends with it."""
    from training.trainers import trl_loop
    from training.trainers.weights import weights_of

    checkpoint = trl_loop.last_checkpoint(work)
    if checkpoint is None:
        return False
    step, last = trl_loop.step_of(checkpoint), trl_loop.is_trained(checkpoint)
    if not last and not judge.is_judged_at(step):
        return False
    return judge.judge_checkpoint(weights_of(checkpoint), step) or last


class Launch:
    """Starts the processes of one stage and reads the files they leave."""

    def __init__(self, section: LaunchSection, job: TrainingJob) -> None:
        """Make the folder in which this process and its workers exchange files.

        Raises:
            ConfigError: the configuration asks for GPUs and there are none.
        """
        self._section, self._layout = section, layout(section)
        if job.device == "cpu" and not self._layout.on_cpu:
            raise ConfigError(
                f"launch.config = {section.config!r} trains on GPUs, but there is no CUDA device "
                "here (or engine.device is 'cpu'); use 'ddp-cpu', 'fsdp-cpu' or 'none'"
            )
        device = "cpu" if self._layout.on_cpu else job.device
        self.job = job.absolute().model_copy(
            update={"device": device, "timeout_s": section.timeout_s}
        )
        self._folder = job.work / "launch"
        with disk_errors_named(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)

    def write_rows(self, lines: Iterable[str]) -> None:
        """Write what the processes train on."""
        jsonl.write_lines(self._folder / "rows.jsonl", lines)

    def result(self) -> Built:
        """Start the processes and return what they report."""
        self.start()
        return Built(**json.loads((self._folder / "result.json").read_text()))

    def start(self) -> None:
        """Start the processes and wait for their end.

        Raises:
            SrlmError: what they raised, or that they died and how their log ends.
        """
        for old in [*self._folder.glob("error-*.json"), self._folder / "result.json"]:
            old.unlink(missing_ok=True)
        path, log = self._folder / "job.json", self._folder / "log.txt"
        start = {"attempt": uuid.uuid4().hex, "host": socket.gethostname(), "pid": os.getpid()}
        job = self.job.model_copy(update=start)
        write_atomically(path, job.model_dump_json(indent=1) + "\n")
        try:
            code = run_logged(command(self._section, self._layout, path), log)
        finally:
            path.unlink()  # so that machines that follow start nothing more
        if code:
            raise self.error(code, log)

    def error(self, code: int, log: Path) -> SrlmError:
        """Return what the processes raised, or how their log ends if they died without a word."""
        for path in sorted(self._folder.glob("error-*.json")):
            raised = json.loads(path.read_text())
            kind = getattr(errors, raised["error"], None)
            if kind is not None:
                # Without its constructor: some build the message from parts.
                error: SrlmError = kind.__new__(kind, raised["message"])
                return error
            return SrlmError(f"{self.job.title}: {raised['error']}: {raised['message']}; see {log}")
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        return SrlmError(
            f"{self.job.title}: the training processes died (exit code {code}); {log} ends: "
            f"{' | '.join(lines[-_LAST_LINES:])}; run the same command to resume from the last "
            "complete checkpoint"
        )
