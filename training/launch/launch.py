"""Training stages in processes of their own, started by `accelerate launch`.

The loop stays one process. It writes what a stage trains on into the stage's work folder, starts
worker.py in as many processes as the accelerate configuration says, shows their progress, and
takes the model they leave. Judged early stopping happens between launches: the processes end
at each checkpoint that is judged and are started again to go on, so judge and training never share
a GPU, and all processes agree on where training stops.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

from core import errors, jsonl
from core.errors import ConfigError, SrlmError, disk_errors_named
from core.store import Built, write_atomically
from training.launch.command import command, layout, run_logged
from training.launch.spec import Spec, launch_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from core.config import (
        DpoSection,
        LaunchSection,
        LoraSection,
        ModelSection,
        SftSection,
    )
    from core.records import LedgerRow
    from training.trainers.dpo import Start
    from training.trainers.early_stopping import CheckpointJudge
    from training.trainers.sft import SftRow

_LAST_LINES = 3


def train_sft(
    base: Path,
    rows: Sequence[SftRow],
    section: SftSection,
    *,
    launch: LaunchSection,
    models: ModelSection,
    lora: LoraSection,
    seed: int,
    device: str,
    work: Path,
    metrics: Path,
    title: str,
) -> tuple[Path, Built]:
    """Do what `sft.train_sft` does, in processes of their own.

    Raises:
        SrlmError: what the processes raised, or that they died and how their log ends.
    """
    began = time.monotonic()
    run = _Launch(launch, launch_folder(work), device)
    lines = [json.dumps(row._asdict(), ensure_ascii=False) for row in rows]
    jsonl.write_lines(run.rows, lines)
    spec = Spec(
        policy=base.resolve(),
        sft=section,
        models=models,
        lora=lora,
        seed=seed,
        device=device,
        work=work.resolve(),
        metrics=metrics.resolve(),
        title=title,
    )
    built = run.result(spec)
    return work / "model", replace(built, seconds=time.monotonic() - began)


def train_dpo(
    start: Start,
    pairs: Sequence[LedgerRow],
    section: DpoSection,
    *,
    launch: LaunchSection,
    models: ModelSection,
    lora: LoraSection,
    seed: int,
    device: str,
    work: Path,
    metrics: Path,
    title: str,
    judge: CheckpointJudge | None,
    release: Callable[[], None],
) -> tuple[Path, Built]:
    """Do what `dpo.train_dpo` does, in processes of their own; checkpoints are judged here.

    `release` lets go of the judge's engines: the processes need the memory.

    Raises:
        SrlmError: what the processes raised, or that they died and how their log ends.
    """
    began = time.monotonic()
    run = _Launch(launch, launch_folder(work), device)
    jsonl.write_lines(run.rows, map(jsonl.encode, pairs))
    spec = Spec(
        policy=start.policy.resolve(),
        reference=start.reference and start.reference.resolve(),
        dpo=section,
        models=models,
        lora=lora,
        seed=seed,
        device=device,
        work=work.resolve(),
        metrics=metrics.resolve(),
        title=title,
        pausing=judge is not None,
    )
    if judge is None:
        built, result = work / "model", run.result(spec)
    else:
        from training.trainers import learnt

        train_until_judged(lambda: run.start(spec), work, judge, release)
        found = learnt.Learnt.read(work)
        trust = models.trust_remote_code
        built, result = learnt.choose(found, section, work, metrics, judge, trust_remote_code=trust)
    return built, replace(result, seconds=time.monotonic() - began)


def train_until_judged(
    train_on: Callable[[], None], work: Path, judge: CheckpointJudge, release: Callable[[], None]
) -> None:
    """Let `train_on` train from one judged checkpoint to the next, until the judge or the end.

    What a killed run had trained or judged is not repeated.
    """
    judge.callback(work)
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


class _Launch:
    """Starts the processes of one stage and reads what they leave."""

    def __init__(self, section: LaunchSection, folder: Path, device: str) -> None:
        """Make the folder in which loop and processes exchange files.

        Raises:
            ConfigError: the configuration asks for GPUs and there are none.
        """
        self._section, self._place = section, layout(section)
        if device == "cpu" and not self._place.on_cpu:
            message = (
                f"launch.config = {section.config!r} trains on GPUs, but there is no CUDA device "
                "here (or engine.device is 'cpu'); use 'ddp-cpu', 'fsdp-cpu' or 'none'"
            )
            raise ConfigError(message)
        self._folder = folder
        with disk_errors_named(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self.rows = folder / "rows.jsonl"

    def result(self, spec: Spec) -> Built:
        """Start the processes and return what they say about their work."""
        self.start(spec)
        return Built(**json.loads((self._folder / "result.json").read_text()))

    def start(self, spec: Spec) -> None:
        """Start the processes and wait for their end.

        Raises:
            SrlmError: what they raised, or that they died and how their log ends.
        """
        for old in [*self._folder.glob("error-*.json"), self._folder / "result.json"]:
            old.unlink(missing_ok=True)
        path, log = self._folder / "spec.json", self._folder / "log.txt"
        loop = {"host": socket.gethostname(), "pid": os.getpid()}
        device = "cpu" if self._place.on_cpu else spec.device
        whole = spec.model_copy(update={"attempt": uuid.uuid4().hex, "device": device, **loop})
        write_atomically(path, whole.model_dump_json(indent=1) + "\n")
        try:
            code = run_logged(command(self._section, self._place, path), log)
        finally:
            path.unlink()  # machines that follow start nothing any more
        if code:
            raise self._error(spec.title, code, log)

    def _error(self, title: str, code: int, log: Path) -> SrlmError:
        for path in sorted(self._folder.glob("error-*.json")):
            said = json.loads(path.read_text())
            kind = getattr(errors, said["error"], None)
            if kind is not None:
                # Not by its constructor: some build the message from parts.
                error: SrlmError = kind.__new__(kind, said["message"])
                return error
            return SrlmError(f"{title}: {said['error']}: {said['message']}; see {log}")
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        return SrlmError(
            f"{title}: the training processes died (exit code {code}); {log} ends: "
            f"{' | '.join(lines[-_LAST_LINES:])}; run the same command to go on from the last "
            "complete checkpoint"
        )
