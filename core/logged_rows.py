"""Rows kept on disk: a mapping over an append log that holds only keys and byte offsets.

A stage of 100,000 judgments is resumed, extended and committed in the memory of its keys. A row is
read and validated again on every access.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, ValuesView
from typing import TYPE_CHECKING, Any

from core import jsonl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from core.append_log import AppendLog
    from core.records import Row

_WINDOW_BYTES = 1 << 18
_FIRST_LINE = 2  # rows begin below the header


class LoggedRows(Mapping[str, Any]):
    """Key → row, in the order of the log; works while the log is open.

    Rows have gone through JSON: a tuple in an untyped field comes back as a list.
    """

    def __init__(self, log: AppendLog, record: type[Any], path: Path) -> None:
        """Name the log and what its rows are; `load` comes next."""
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
