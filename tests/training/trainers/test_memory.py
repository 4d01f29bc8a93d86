"""Freed memory stays with a training process: asking for it again maps no new pages."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import resource, torch
from training.trainers.memory import keep_freed_memory
if {keep}: assert keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(32 << 20)  # 128 MiB: 32,768 pages of 4 KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(min(faults() for _ in range(6)))  # the second may not fit where the first was
"""


def _faults_again(*, keep: bool) -> int:
    program = _PROGRAM.format(keep=keep)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def test_what_is_freed_is_used_again() -> None:
    kept = _faults_again(keep=True)
    assert kept < 50
    # Otherwise every page is mapped anew (64 faults where the system has pages of 2 MiB).
    assert _faults_again(keep=False) > kept
