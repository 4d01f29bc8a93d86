"""Content hashes: the identity of files, model folders and settings."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from core.atomic import replacing
from core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_MODEL_SUFFIXES = (".safetensors", ".json", ".jinja", ".model", ".txt", ".py")


def sha256_text(text: str) -> str:
    """Return the hex SHA-256 of a string's UTF-8 bytes."""
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_json(value: Any) -> str:
    """Return the hex SHA-256 of a JSON value, independent of key order."""
    return sha256_text(json.dumps(value, sort_keys=True, ensure_ascii=False))


def sha256_file(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes.

    Raises:
        DataError: the file does not exist.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise DataError(path, None, "no such file; check the path in the configuration") from None


def sha256_folder(files: Sequence[Path], cache: Path) -> str:
    """Return the hash of some files' names and contents, hashing only those changed since.

    `cache` remembers size, modification time and hash by path: a base model of 140 GB is not read
    again each time a command starts.
    """
    try:
        known = json.loads(cache.read_bytes())
    except (OSError, ValueError):
        known = {}  # none yet, or damaged: only time is lost
    found = {}
    for file in files:
        stat = file.stat()
        stamp = [stat.st_size, stat.st_mtime_ns]
        entry = known.get(str(file.resolve()))
        digest = entry[2] if entry and entry[:2] == stamp else sha256_file(file)
        known[str(file.resolve())] = [*stamp, digest]
        found[file.name] = digest
    text = json.dumps(known, indent=1)
    if not cache.is_file() or cache.read_bytes() != text.encode():
        cache.parent.mkdir(parents=True, exist_ok=True)
        with replacing(cache) as fresh:
            fresh.write(text.encode())
    return sha256_json(found)


def model_files(folder: Path) -> list[Path]:
    """Return the files that make up a model (weights, tokenizer, settings, code), by name."""
    return sorted(p for p in folder.iterdir() if p.is_file() and p.suffix in _MODEL_SUFFIXES)


def model_digest(folder: Path) -> str:
    """Return the content hash of a model folder's files."""
    return sha256_json([sha256_file(path) for path in model_files(folder)])


def short(digest: str) -> str:
    """Return the first twelve hex digits: enough to distinguish hashes in a message."""
    return digest[:12]
