"""An append-only file of JSON lines that survives kill -9: whole lines stay, a torn one is cut."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Self

from core.errors import DataError, disk_errors_named

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType


class AppendLog:
    """Use as a context manager: reads what is there, then appends.

    `lines` holds the objects found on opening, in order (none with `read=False`, for logs that are
    only added to).
    """

    def __init__(self, path: Path, *, read: bool = True) -> None:
        """Name the file; nothing is opened yet."""
        self._path, self._read = path, read
        self.lines: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        """Read complete lines, cut a torn last one, and open for appending.

        Raises:
            DataError: a complete line is not a JSON object.
        """
        with disk_errors_named(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            data = self._path.read_bytes() if self._path.exists() else b""
            end = data.rfind(b"\n") + 1
            lines = data[:end].splitlines() if self._read else []
            for number, line in enumerate(lines, start=1):
                try:
                    value = json.loads(line)
                except ValueError as error:
                    raise DataError(self._path, number, f"damaged line ({error})") from None
                if not isinstance(value, dict):
                    what = f"damaged line (expected a JSON object, found {type(value).__name__})"
                    raise DataError(self._path, number, what)
                self.lines.append(value)
            self._file = self._path.open("r+b" if data else "wb")
            self._file.truncate(end)
            self._file.seek(end)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file; what was appended stays."""
        with disk_errors_named(self._path):  # closing writes again what a full disk refused
            self._file.close()

    def append(self, text: str) -> None:
        """Append one encoded JSON object; it survives a kill of this process from here on."""
        with disk_errors_named(self._path):
            self._file.write(text.encode() + b"\n")
            self._file.flush()
