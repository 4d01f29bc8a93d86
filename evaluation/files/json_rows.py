"""Reading users' files of JSON objects: JSONL or a JSON list, plain or .gz."""

from __future__ import annotations

import gzip
import json
import sys
import zlib
from typing import TYPE_CHECKING, Any

from core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MOST = sys.float_info.max
_LEAST = -_MOST


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line from 1, object) for every line of a JSONL file, or for every item of a JSON list.

    The items of a list count as lines: 3 is the third item. A name ending in .gz is decompressed.

    Raises:
        DataError: the file is missing, damaged, empty, not UTF-8, or an item is not an object.
    """
    text = _text(path)
    items = _list(path, text) if text.lstrip().startswith("[") else _lines(path, text)
    found = False
    for line, value in items:
        if not isinstance(value, dict):
            raise DataError(path, line, f"expected a JSON object, found {type(value).__name__}")
        found = True
        yield line, value
    if not found:
        raise DataError(path, None, "no rows in this file")


def number(path: Path, line: int, row: dict[str, Any], field: str) -> float:
    """Return a field that must be a finite number.

    Raises:
        DataError: it is absent, text, true/false, null, NaN or infinite.
    """
    value = row.get(field)
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    if not plain or not _LEAST <= value <= _MOST:  # type: ignore[operator] # also excludes NaN
        shown = json.dumps(value)[:40] if field in row else "absent"
        raise DataError(path, line, f"{field} is {shown}, expected a finite number")
    return float(value)  # type: ignore[arg-type]


def number_or_missing(path: Path, line: int, row: dict[str, Any], field: str) -> float | None:
    """Return a field as `number` does, or None where it is null: missing."""
    return None if field in row and row[field] is None else number(path, line, row, field)


def _text(path: Path) -> str:
    if not path.is_file():
        raise DataError(path, None, "no such file")
    raw = path.read_bytes()
    try:
        if path.suffix == ".gz":
            raw = gzip.decompress(raw)
        return raw.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(path, None, f"not a complete gzip file ({error})") from None
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(path, line, f"not UTF-8 at byte {error.start} of the file") from None


def _list(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    try:
        items = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(path, error.lineno, _invalid(error)) from None
    except ValueError as error:  # a number of thousands of digits
        raise DataError(path, None, f"not readable: {error}") from None
    yield from enumerate(items, start=1)


def _lines(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    for line, raw in enumerate(text.split("\n"), start=1):
        if not raw.strip():
            continue
        try:
            yield line, json.loads(raw)
        except json.JSONDecodeError as error:
            raise DataError(path, line, _invalid(error)) from None
        except ValueError as error:  # a number of thousands of digits
            raise DataError(path, line, f"not readable: {error}") from None


def _invalid(error: json.JSONDecodeError) -> str:
    return f"not valid JSON: {error.msg} at column {error.colno}"
