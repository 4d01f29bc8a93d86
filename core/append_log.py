"""An append-only JSONL file that survives kill -9, and its rows read from the disk when asked for.

A torn last line is cut off on opening. A stage of 100,000 judgments is resumed, extended and
committed in the memory of its keys.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, ValuesView
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from pydantic_core import from_json

from core import jsonl
from core.errors import DataError, disk_errors_named

if TYPE_CHECKING:
    from pathlib import Path

    from core.records import Row

_CHUNK_BYTES = 1 << 16
_WINDOW_BYTES = 1 << 18
_FIRST_LINE = 2  # rows begin below the header


class AppendLog:
    """Use as a context manager: reads what is there, then appends.

    `lines` holds the objects found on opening, in order. With `read=False` it stays empty: for logs
    that are only appended to, or too large for memory (`objects` streams them).
    """

    def __init__(self, path: Path, *, read: bool = True) -> None:
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

    def __exit__(self, *_: object) -> None:
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


class LoggedRows(Mapping[str, Any]):
    """Key → row, in the order of the log; works while the log is open.

    Holds only keys and byte offsets: a row is read and validated again on every access. It has
    gone through JSON: a tuple in an untyped field comes back as a list.
    """

    def __init__(self, log: AppendLog, record: type[Any], path: Path) -> None:
        self._log, self._record, self._path = log, record, path
        self._places: dict[str, int] = {}
        self._ends = array("Q")  # the byte before the first row, then the byte behind each one

    def load(self, begin: int, lines: Iterable[tuple[int, dict[str, Any]]]) -> None:
        """Note the rows of an earlier run, which begin at byte `begin`; validates each.

        Raises:
            DataError: a row is damaged; names its line.
        """
        self._places.clear()
        self._ends = array("Q", [begin])
        for number, (end, raw) in enumerate(lines, start=_FIRST_LINE):
            row: Row = jsonl.decode(self._record, raw, self._path, number)
            self._note(row.key, end)

    def append(self, row: Row) -> None:
        """Append one row; it survives a kill from here on."""
        self._note(row.key, self._log.append(jsonl.encode(row)))

    def _note(self, key: str, end: int) -> None:
        self._places[key] = len(self._ends) - 1
        self._ends.append(end)

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __contains__(self, key: object) -> bool:
        return key in self._places

    def __getitem__(self, key: str) -> Any:
        place = self._places[key]
        return self._decoded(place, self._line(place))

    def values(self) -> ValuesView[Any]:
        """Return the rows, read one after another as they are iterated over."""
        return _Values(self)

    def stream(self) -> Iterator[Any]:
        """Yield each row, reading ahead by a window rather than row by row."""
        begin, window = 0, b""
        for place in self._places.values():
            first, last = self._ends[place], self._ends[place + 1]
            if not begin <= first <= last <= begin + len(window):
                begin = first
                window = self._log.read(first, max(last, first + _WINDOW_BYTES))
            yield self._decoded(place, window[first - begin : last - begin])

    def lines(self, order: Callable[[Any], Any]) -> Iterator[bytes]:
        """Yield the rows as they were written, sorted by `order`; holds only what that returns."""
        places = list(self._places.values())
        keys = list(map(order, self.stream()))
        for at in sorted(range(len(places)), key=keys.__getitem__):
            yield self._line(places[at])

    def _line(self, place: int) -> bytes:
        return self._log.read(self._ends[place], self._ends[place + 1])

    def _decoded(self, place: int, line: bytes) -> Any:
        number = place + _FIRST_LINE
        return jsonl.decode(self._record, self._log.parse(line, number), self._path, number)


class _Values(ValuesView[Any]):
    """The rows of `LoggedRows`, streamed: a plain view would look up each key by itself."""

    def __init__(self, rows: LoggedRows) -> None:
        super().__init__(rows)
        self._rows = rows

    def __iter__(self) -> Iterator[Any]:
        return self._rows.stream()
