"""JSON lines: one record per line, errors that name the line."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from core.records import Row

R = TypeVar("R")


def encode(record: Row) -> str:
    """Return a record as one JSON line without its line break; same record, same bytes."""
    return json.dumps(asdict(record), ensure_ascii=False)  # type: ignore[call-overload]


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


def read_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number from 1, object) for each non-empty line.

    Raises:
        DataError: the file is missing, is not UTF-8, or a line is not a JSON object.
    """
    if not path.is_file():
        raise DataError(path, None, "no such file; check the path in the configuration")
    number = 0
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            if not raw.strip():
                continue
            try:
                value = json.loads(raw.decode("utf-8-sig"))
                if b"\\ud" in raw.lower():  # half a surrogate pair is legal JSON but not UTF-8
                    json.dumps(value, ensure_ascii=False).encode()
            except UnicodeDecodeError as error:
                raise DataError(path, number, f"not UTF-8 at byte {error.start}") from None
            except UnicodeEncodeError as error:
                half = ascii(error.object[error.start])
                raise DataError(path, number, f"{half} is half a character (surrogate)") from None
            except json.JSONDecodeError as error:
                raise DataError(
                    path, number, f"not valid JSON: {error.msg} at column {error.colno}"
                ) from None
            if not isinstance(value, dict):
                raise DataError(
                    path, number, f"expected a JSON object, found {type(value).__name__}"
                )
            yield number, value


def read_records(path: Path, record_type: type[R]) -> list[R]:
    """Read a whole file of records.

    Raises:
        DataError: see `read_objects` and `decode`.
    """
    return [decode(record_type, raw, path, line) for line, raw in read_objects(path)]


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write lines to a file, each ended by a line break, and flush them to the disk."""
    write_encoded(path, (f"{line}\n".encode() for line in lines))


def write_encoded(path: Path, lines: Iterable[bytes]) -> None:
    """Write lines that have their line breaks, and flush them to the disk."""
    with path.open("wb") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
