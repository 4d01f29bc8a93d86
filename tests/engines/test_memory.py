"""Freed memory stays with a training process until training is over."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import resource, torch
from engines.memory import give_back_freed_memory, keep_freed_memory
if {keep}: assert keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(32 << 20)  # 128 MiB: 32,768 pages of 4 KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() >> 20
print(min(faults() for _ in range(6)))  # the second may not fit where the first was
kept = resident()
give_back_freed_memory()
print(kept - resident())
"""


def _measured(*, keep: bool) -> tuple[int, int]:
    """Return page faults of asking again for freed memory, and MiB given back then."""
    program = _PROGRAM.format(keep=keep)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    faults, given_back = done.stdout.split()
    return int(faults), int(given_back)


def test_what_is_freed_is_used_again_and_given_back_in_the_end() -> None:
    faults, given_back = _measured(keep=True)
    assert faults < 50
    assert given_back > 100
    # Otherwise every page is mapped anew (64 faults where the system has pages of 2 MiB).
    assert _measured(keep=False)[0] > faults
