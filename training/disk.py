"""The disk that a training stage needs: checkpoints, the best of them, and the model it leaves."""

from __future__ import annotations

import json
import math
import shutil
from typing import TYPE_CHECKING, NamedTuple

from core.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path

    from core.config import DpoSection, SftSection
    from training.trainers.job import TrainingJob

_GB = 1e9
BYTES = {"float32": 4, "bfloat16": 2}
_WEIGHT = 4  # bytes in a checkpoint, whatever the arithmetic
_MOMENTS = 8  # of Adam, for each trained weight
_CHECKPOINTS = 3  # two are kept, and one is being written


class Disk(NamedTuple):
    """Bytes that a training stage needs at most at one time."""

    checkpoints: float
    best: float
    model: float

    @property
    def needed(self) -> float:
        """Return the sum."""
        return sum(self)


def training_disk(
    section: DpoSection | SftSection,
    *,
    parameters: int,
    rows: int | None,
    adapters: int | None = None,
    compared_every: int | None = None,
    apart: bool = False,
) -> Disk:
    """Return what training a model of so many parameters needs.

    Args:
        section: the optimiser's settings.
        parameters: of the model.
        rows: what is trained on, None if not known.
        adapters: parameters of LoRA, None if the whole model is trained.
        compared_every: steps between checkpoints that are judged, None if none is.
        apart: training runs in launched processes.
    """
    trained = parameters if adapters is None else adapters
    each = (_WEIGHT + _MOMENTS) * trained
    if compared_every and (apart or adapters is not None):
        each += _WEIGHT * parameters  # the whole model, for the judge
    best = _WEIGHT * parameters if compared_every else 0
    count = _checkpoints(section, rows, compared_every)
    return Disk(count * each, best, BYTES[section.save_dtype] * parameters)


def _checkpoints(
    section: DpoSection | SftSection, rows: int | None, compared_every: int | None
) -> int:
    """Return how many exist at one time; the last step always leaves one."""
    steps = section.max_steps
    if steps is None:
        if rows is None:
            return _CHECKPOINTS
        steps = math.ceil(rows / section.batch_size * section.epochs)
    every = math.gcd(section.checkpoint_steps, compared_every or 0)
    return min(_CHECKPOINTS, math.ceil(steps / every))


def check_room(job: TrainingJob, rows: int, *, compared: bool, apart: bool) -> None:
    """Check before a stage trains that the disk has room for what it will write.

    What an interrupted attempt has left counts as room: its checkpoints are among those needed.
    LoRA's adapters, which are small, are not counted.

    Raises:
        StorageError: it has not.
    """
    parameters = parameters_of(job.policy)
    disk = training_disk(
        job.section,
        parameters=parameters,
        rows=rows,
        adapters=0 if job.lora.enabled else None,
        compared_every=job.dpo.early_stopping.every_steps if job.dpo and compared else None,
        apart=apart,
    )
    job.work.mkdir(parents=True, exist_ok=True)
    there = sum(file.stat().st_size for file in job.work.rglob("*") if file.is_file())
    room = shutil.disk_usage(job.work).free + there
    if disk.needed > room:
        raise StorageError(
            f"{job.work}: training {job.title} writes up to {disk.needed / _GB:.1f} GB "
            f"(checkpoints {disk.checkpoints / _GB:.1f}, the best one {disk.best / _GB:.1f}, the "
            f"model {disk.model / _GB:.1f}), and there is room for {room / _GB:.1f} GB. Free "
            "space or set out_dir to another disk, then run the same command again"
        )


def parameters_of(folder: Path) -> int:
    """Return how many weights a model folder's safetensors files hold."""
    return sum(map(_in_file, folder.glob("*.safetensors")))


def _in_file(weights: Path) -> int:
    with weights.open("rb") as file:
        # The format: the length of the header, then the header with each tensor's shape.
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return sum(math.prod(entry["shape"]) for entry in header.values() if "shape" in entry)
