"""Reading rows by their place in a file: one line is decoded without the others.

Runs of other people are read too: half a character (a lone surrogate), which JSON may hold but text
may not, is replaced by U+FFFD here, so that every page can be sent.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from core import jsonl
from core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_HALF = re.compile("[\ud800-\udfff]")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class Place(NamedTuple):
    """Where a row stands in its file: the line from 1, its first byte, its number of bytes."""

    line: int
    offset: int
    size: int


def read_places(path: Path, record: type[Any]) -> Iterator[tuple[Place, Any]]:
    """Yield every row of a file with its place.

    Raises:
        DataError: the file is missing, or a line is not such a record.
    """
    if not path.is_file():
        raise DataError(path, None, "no such file; it was removed after its manifest was written")
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                place = Place(number, offset, len(line))
                yield place, _record(line, record, path, number)
            offset += len(line)


def read_at(path: Path, record: type[Any], places: list[Place]) -> list[Any]:
    """Return the rows at these places, in the order asked for.

    Raises:
        DataError: the file has changed since it was indexed.
    """
    if not places:
        return []
    found = []
    try:
        with path.open("rb") as file:
            for place in places:
                file.seek(place.offset)
                found.append(_record(file.read(place.size), record, path, place.line))
    except FileNotFoundError:
        raise DataError(path, None, "it was removed while it was read") from None
    return found


def _record(line: bytes, record: type[Any], path: Path, number: int) -> Any:
    try:
        value = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(path, number, f"not UTF-8 at byte {error.start}") from None
    except ValueError as error:
        raise DataError(path, number, f"not valid JSON: {error}") from None
    except RecursionError:
        raise DataError(path, number, "JSON nested too deeply") from None
    if b"\\ud" in line.lower():
        value = _whole(value)
    return jsonl.decode(record, value, path, number)


def _whole(value: Any) -> Any:
    """Return a JSON value whose texts hold no half characters."""
    if isinstance(value, str):
        return _HALF.sub(_REPLACEMENT, value)
    if isinstance(value, list):
        return [_whole(inner) for inner in value]
    if isinstance(value, dict):
        return {_whole(name): _whole(inner) for name, inner in value.items()}
    return value
