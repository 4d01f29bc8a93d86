"""Freed memory stays with a training process until training is over."""

from __future__ import annotations

import subprocess
import sys

import pytest

_PROGRAM = """
import resource, torch
from engines.memory import give_back_freed_memory, keep_freed_memory
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() >> 20
if {keep}: assert keep_freed_memory()
before = resident()
# Of 64 MiB each: above 32 MiB, glibc's own limit, which moves with what was freed before.
blocks = [torch.ones(16 << 20) for _ in range(2)]
del blocks
print(resident() - before)
give_back_freed_memory()
print(resident() - before)
"""


@pytest.mark.parametrize(("keep", "least", "most"), [(True, 100, 200), (False, 0, 80)])
def test_what_is_freed_is_kept_until_it_is_given_back(keep: bool, least: int, most: int) -> None:
    program = _PROGRAM.format(keep=keep)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    freed, given_back = map(int, done.stdout.split())
    # In MiB, of 128 that were written and freed; glibc itself keeps up to 64 at most.
    assert least <= freed <= most
    assert given_back < 40
