"""Small files read once, and again when they change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")
_Signature = tuple[int, int, int]


class Remembered:
    """What was made of files, by path. Usable from several threads."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._known: dict[Path, tuple[_Signature, Any]] = {}

    def read(self, path: Path, make: Callable[[], T]) -> T:
        """Return what `make` makes of a file, made anew when the file was replaced or written.

        Raises:
            FileNotFoundError: there is no file; and whatever `make` raises, which is not kept.
        """
        stat = path.stat()
        signature = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        known = self._known.get(path)
        if known is None or known[0] != signature:
            known = (signature, make())
            self._known[path] = known
        found: T = known[1]
        return found
