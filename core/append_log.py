"""An append-only JSONL file that survives kill -9: a torn last line is cut off on opening."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from pydantic_core import from_json

from core.errors import DataError, disk_errors_named

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

_CHUNK_BYTES = 1 << 16


class AppendLog:
    """Use as a context manager: reads what is there, then appends.

    `lines` holds the objects found on opening, in order. With `read=False` it stays empty: for logs
    that are only appended to, or too large for memory (`objects` streams them).
    """

    def __init__(self, path: Path, *, read: bool = True) -> None:
        """Name the file; nothing is opened yet."""
        self._path, self._read = path, read
        self._end = 0
        self.lines: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        """Read complete lines, cut a torn last one, and open for appending.

        Raises:
            DataError: a complete line is not a JSON object.
        """
        with disk_errors_named(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a+b")
            try:
                self._end = _end_of_whole_lines(self._file)
                if self._read:
                    self.lines.extend(value for _, value in self.objects())
                self._file.truncate(self._end)
            except BaseException:
                self._file.close()
                raise
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

    def objects(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield (byte behind the line, object) for each whole line, holding one at a time.

        Raises:
            DataError: a line is not a JSON object.
        """
        at, end = 0, self._end
        with self._path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                at += len(line)
                if at > end:
                    return
                yield at, self.parse(line, number)

    def parse(self, line: bytes, number: int) -> dict[str, Any]:
        """Return the object of one line.

        Raises:
            DataError: it is not a JSON object; names `number`.
        """
        try:
            value = from_json(line)
        except ValueError as error:
            raise DataError(self._path, number, f"damaged line ({error})") from None
        if not isinstance(value, dict):
            what = f"damaged line (expected a JSON object, found {type(value).__name__})"
            raise DataError(self._path, number, what)
        return value

    def append(self, text: str) -> int:
        """Append one encoded JSON object; it survives a kill of this process from here on.

        Returns the byte behind the line.
        """
        line = text.encode() + b"\n"
        with disk_errors_named(self._path):
            self._file.write(line)
            self._file.flush()
        self._end += len(line)
        return self._end

    def read(self, begin: int, end: int) -> bytes:
        """Return the bytes from `begin` to before `end`, fewer where the file ends."""
        return os.pread(self._file.fileno(), end - begin, begin)


def _end_of_whole_lines(file: BinaryIO) -> int:
    """Return the byte behind the last line break, 0 if there is none; reads only the file's end."""
    end = file.seek(0, os.SEEK_END)
    while end:
        begin = max(0, end - _CHUNK_BYTES)
        file.seek(begin)
        found = file.read(end - begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0
