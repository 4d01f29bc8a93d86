"""Where rows come from: a packaged set, a file, a folder, or a data set of the hub."""

from __future__ import annotations

import re
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from core import hashing
from core.errors import ConfigError, DataError
from core.jsonl import read_objects
from core.stages import project_root

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_HUB_NAME = re.compile(r"(?!\.)[\w.-]+/[\w.-]+(@[\w.-]+)?")
_FILES = (".jsonl", ".json", ".gz")  # "data/ift.jsonl" is a file that is missing, no hub name
_KEPT = ("key", "id", "split", "lang", "system")  # of a row whose columns are named

PACKAGED = ("sample", "verifiable")
"""The folders of data/."""


class Source(NamedTuple):
    """What a setting names as the source of rows.

    `name`: one of `PACKAGED`, a JSON or JSONL file, a folder of a data set, or "owner/name" on the
    hub, perhaps with "@revision". `role`: which file of a packaged set ("ift", "eft", "prompts").
    `split`: of a data set (None: "train"), or the rows of a file that say they belong to it.
    `subset`: of a hub data set. `columns`: the source's names of the fields that are read.
    `setting`: what names it, for errors.
    """

    name: str
    role: str
    split: str | None = None
    subset: str | None = None
    columns: Mapping[str, str] = MappingProxyType({})
    setting: str = ""

    @property
    def path(self) -> Path | None:
        """The file or folder, None for a hub data set.

        Raises:
            ConfigError: it is neither an existing path nor a hub name.
            DataError: the file is empty.
        """
        if file := packaged(self.name, self.role):
            return file
        path = Path(self.name).expanduser()
        if path.is_file() and not path.stat().st_size:
            raise DataError(path, None, "the file is empty")
        if path.exists():
            return path
        if _HUB_NAME.fullmatch(self.name) and path.suffix not in _FILES:
            return None
        setting = f"{self.setting} = " if self.setting else ""
        raise ConfigError(
            f"{setting}{self.name}: no such file; give an existing path, "
            f"{' or '.join(map(repr, PACKAGED))}, or a hub name (owner/name)"
        )

    def check(self) -> None:
        """Check that the source is there; raises as `path`, and if `subset` is set for a file."""
        path = self.path
        if self.subset is not None and path is not None and path.is_file():
            raise ConfigError(f"{path}: subset = {self.subset!r}, but a file has no subsets")

    @property
    def origin(self) -> Path | str:
        """What errors about its rows name."""
        return self.path or self.name

    def sha256(self) -> str:
        """Return the hash of its content; of a hub data set, that of its name and revision.

        What was read of the hub is in the artifact.
        """
        path = self.path
        if path is None:
            return hashing.sha256_text(self.name)
        if path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.is_file())
            return hashing.sha256_json([hashing.sha256_file(f) for f in files])
        return hashing.sha256_file(path)

    def content(self) -> dict[str, str]:
        """Return the source's name and `sha256`, for an artifact's key."""
        path = self.path
        return {f"hub:{self.name}" if path is None else f"file:{path.name}": self.sha256()}

    def rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield (line or row from 1, object), with fields under the names that readers know.

        Raises:
            ConfigError: as `check`.
            DataError: a line is no JSON object, a named column is missing, or a data set cannot be
                loaded.
        """
        self.check()
        path = self.path
        rows = read_objects(path) if path and path.is_file() else self._data_set(path)
        for line, row in rows:
            yield line, self._named(row, line) if self.columns else row

    def _data_set(self, path: Path | None) -> Iterator[tuple[int, dict[str, Any]]]:
        from datasets import load_dataset

        name, _, revision = (self.name, "", "") if path else self.name.partition("@")
        try:
            data = load_dataset(
                str(path or name), self.subset, split=self.split or "train",
                revision=revision or None,
            )  # fmt: skip
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise DataError(self.name, None, f"cannot load the data set ({reason})") from error
        yield from enumerate(data, start=1)

    def _named(self, row: dict[str, Any], line: int) -> dict[str, Any]:
        for field, column in self.columns.items():
            if column not in row:
                what = f"no column {column!r} (columns.{field}); found {sorted(row)}"
                raise DataError(self.origin, line, what)
        kept = {name: row[name] for name in _KEPT if name in row}
        return kept | {field: row[column] for field, column in self.columns.items()}


def packaged(name: str, role: str) -> Path | None:
    """Return the file of a packaged set that has a role, None if there is none of that name."""
    if name not in PACKAGED:
        return None
    return next((project_root() / "data" / name).glob(f"{role}.*"), None)
