"""Memory of training on a CPU: what is freed stays with the process until training ends.

Every step frees gradients and casts of all weights and asks for them again. glibc gives large
blocks back to the system at once, which then has to find, clear and map their pages anew: 600 MB a
step for the embedded model, a third of the step's time on a virtual machine
(docs/decisions/041-training-steps-on-a-cpu.md).
"""

from __future__ import annotations

import ctypes
import functools

# Parameters of glibc's mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_NEVER = -1
_GROWTH_BYTES = 256 << 20


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    """Return the C library if it is glibc."""
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


@functools.cache
def keep_freed_memory() -> bool:
    """Let this process keep what it frees; return whether its C library can."""
    library = _glibc()
    if library is None:
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER), (_TOP_PAD, _GROWTH_BYTES))
    return all(library.mallopt(*setting) == 1 for setting in settings)


def give_back_freed_memory() -> None:
    """Give what was freed and kept back to the system, once."""
    if library := _glibc():
        library.malloc_trim(0)
