"""Finding and killing the engine workers that a process started on Ray."""

from __future__ import annotations

import os
import signal
import time

import psutil  # type: ignore[import-untyped]

_GONE_WITHIN_S = 60


def engine_workers(driver: int) -> list[int]:
    """The process ids of the workers below a process, oldest first."""
    found = []
    for process in psutil.Process(driver).children(recursive=True):
        try:
            # Ray names a worker after the method it runs: ray::EngineWorker.run
            if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::EngineWorker"):
                found.append(process.pid)
        except psutil.NoSuchProcess:
            continue
    return sorted(found)


def kill_a_worker(driver: int) -> int:
    """kill -9 one of the workers; return which it was."""
    pid = engine_workers(driver)[0]
    os.kill(pid, signal.SIGKILL)
    return pid


def wait_until_gone(pids: list[int]) -> None:
    """Wait for processes that are about to end; fail if one goes on."""
    deadline = time.monotonic() + _GONE_WITHIN_S
    while left := [pid for pid in pids if psutil.pid_exists(pid) and not _ended(pid)]:
        assert time.monotonic() < deadline, f"still running: {left}"
        time.sleep(0.05)


def _ended(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
