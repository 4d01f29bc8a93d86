"""JSON and JSON lines, gzipped or not: one parser, one reader, errors that name the line."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import re
import zlib
from dataclasses import asdict, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from core.atomic import replacing
from core.errors import DataError
from core.records import ADDED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from core.records import Row

R = TypeVar("R")

_POSITION = re.compile(r"(.*) at line (\d+) column (\d+)", re.DOTALL)
_GZIP = b"\x1f\x8b"
_HEAD = 1024  # bytes in which the first character of a file that is not blank is looked for
# What a .gz file may unpack to: published result files reach 60 times their size, bombs 1,000.
_PLAUSIBLE_RATIO = 100
_PLAUSIBLE_BYTES = 64 * 10**6


def encode(record: Row) -> str:
    """Return a record as one JSON line without its line break; same record, same bytes."""
    return json.dumps(values_of(record), ensure_ascii=False)


def values_of(record: Any) -> dict[str, Any]:
    """Return a record's fields; those that came later (`core.records.ADDED`) unless at default."""
    values: dict[str, Any] = asdict(record)
    for name, default in _added(type(record)):  # type: ignore[arg-type]
        if values[name] == default:
            del values[name]
    return values


@lru_cache(maxsize=32)
def _added(record_type: type[Any]) -> tuple[tuple[str, Any], ...]:
    """Return the fields that came after a release, with their defaults."""
    return tuple((f.name, f.default) for f in fields(record_type) if ADDED in f.metadata)


@lru_cache(maxsize=32)
def _schema(record_type: type[Any]) -> tuple[TypeAdapter[Any], frozenset[str]]:
    return TypeAdapter(record_type), frozenset(field.name for field in fields(record_type))


def decode(record_type: type[R], raw: object, path: Path, line: int) -> R:
    """Validate one parsed line as a record.

    Raises:
        DataError: a field is missing, unknown or of the wrong type.
    """
    adapter, known = _schema(record_type)  # type: ignore[arg-type]
    if isinstance(raw, dict) and not raw.keys() <= known:
        unknown = min(raw.keys() - known)
        raise DataError(path, line, f"{unknown}: unknown field (expected a {record_type.__name__})")
    try:
        decoded: R = adapter.validate_python(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "row"
        raise DataError(
            path, line, f"{where}: {first['msg']} (expected a {record_type.__name__})"
        ) from None
    return decoded


def parse(raw: bytes, path: Path, line: int | None = None) -> Any:
    """Return the value of JSON from outside: the one parser of every reader.

    Half surrogates are refused (legal JSON, but no UTF-8 exists for them: a later stage could not
    write them down), and so is nesting deeper than 200.

    Raises:
        DataError: it is not UTF-8 or not JSON; names `line`, None: the line in `raw`.
    """
    try:
        return from_json(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        at = raw.count(b"\n", 0, error.start) + 1
        raise DataError(path, line or at, f"not UTF-8 at byte {error.start}") from None
    except ValueError as error:
        what, row, column = _POSITION.fullmatch(str(error)).groups()  # type: ignore[union-attr]
        if "hex escape" in what:
            what = "half a character (a surrogate without the other)"
        else:
            what = what.replace("recursion limit exceeded", "nested too deeply")
            what = f"not valid JSON: {what}"
        raise DataError(path, line or int(row), f"{what} at column {column}") from None


class _Inflated(io.RawIOBase):
    """The content of a .gz file, up to a bound: a bomb of 1 MB would fill 1 GB of memory."""

    def __init__(self, path: Path) -> None:
        self._path, self._gzip, self._bytes = path, gzip.GzipFile(path), 0
        self._most = max(_PLAUSIBLE_BYTES, _PLAUSIBLE_RATIO * path.stat().st_size)

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._gzip.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        try:
            count = self._gzip.readinto(buffer)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(self._path, None, f"not a complete gzip file ({error})") from None
        self._bytes += count
        if self._bytes > self._most:
            what = (
                f"unpacks to more than {self._most / 1e6:,.0f} MB, {_PLAUSIBLE_RATIO} times its "
                "size: not read; if it is what you want to read, unpack it first"
            )
            raise DataError(self._path, None, what)
        return count


def opened(path: Path) -> io.BufferedReader:
    """Open a file for reading bytes, unpacked if it is gzip (by its content, whatever its name).

    Raises:
        DataError: there is no such file; from reads: it is damaged, or unpacks to too much.
    """
    if not path.is_file():
        raise DataError(path, None, "no such file; check the path")
    file = path.open("rb")
    if file.peek(2)[:2] != _GZIP:
        return file
    file.close()
    return io.BufferedReader(_Inflated(path))


def read_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line from 1, object) for each non-empty line of JSONL, or each item of a JSON list.

    The items of a list count as lines: 3 is the third item. Files may be gzipped.

    Raises:
        DataError: see `opened` and `parse`, or a line or item is not a JSON object.
    """
    with opened(path) as file:
        values: Iterable[tuple[int, Any]]
        if file.peek(_HEAD).removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"["):
            values = enumerate(parse(file.read(), path), start=1)
        else:
            values = ((n, parse(raw, path, n)) for n, raw in enumerate(file, 1) if raw.strip())
        for number, value in values:
            if not isinstance(value, dict):
                found = type(value).__name__
                raise DataError(path, number, f"expected a JSON object, found {found}")
            yield number, value


def read_records(path: Path, record_type: type[R]) -> list[R]:
    """Read a whole file of records.

    Raises:
        DataError: see `read_objects` and `decode`.
    """
    return [decode(record_type, raw, path, line) for line, raw in read_objects(path)]


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Replace a file by these lines, each ended by a line break, in one step."""
    write_encoded(path, (f"{line}\n".encode() for line in lines))


def write_encoded(path: Path, lines: Iterable[bytes]) -> None:
    """As `write_lines`, for lines that have their line breaks."""
    with replacing(path) as file:
        file.writelines(lines)
