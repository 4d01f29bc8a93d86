"""Measured limits of this machine: the reference for every speed in the table."""

from __future__ import annotations

import platform
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_SIDE = 2048  # a product of two such matrices is 17 GFLOP: long enough to time, no longer cached
_STREAM_BYTES = 512 * 2**20  # far beyond any cache
_TRIES = 5


class Machine(NamedTuple):
    """A machine's identity and its measured limits, for float32 and all threads together.

    `gflops` is of a product of square matrices, `gbytes_s` of reading memory from end to end, both
    the best of five tries: limits, not averages.
    """

    cpu: str
    cores: int
    threads: int
    torch: str
    gflops: float
    gbytes_s: float
    date: str

    def plain(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return self._asdict()


def measure_machine() -> Machine:
    """Measure the limits; a few seconds."""
    import torch

    square = torch.ones(_SIDE, _SIDE)
    product = torch.empty_like(square)
    stream = torch.ones(_STREAM_BYTES // 4)
    multiplied = _best(lambda: torch.mm(square, square, out=product))
    read = _best(stream.sum)
    return Machine(
        cpu=_cpu_model(),
        cores=len(_cores()),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        gflops=2 * _SIDE**3 / multiplied / 1e9,
        gbytes_s=_STREAM_BYTES / read / 1e9,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _best(work: Callable[[], object]) -> float:
    work()
    seconds = []
    for _ in range(_TRIES):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def _cores() -> set[int]:
    import os

    return os.sched_getaffinity(0)


def _cpu_model() -> str:
    path = Path("/proc/cpuinfo")
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
