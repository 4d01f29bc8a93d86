"""The artifact store: rows and model folders that exist only once their manifest does.

A long stage appends each finished row to a partial file. Finishing writes the rows in their final
order to a temporary file, renames it, and writes the manifest last, so that a process killed at any
moment leaves either a complete artifact or a partial one that the next run continues.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from core import hashing, jsonl
from core.append_log import AppendLog, LoggedRows
from core.atomic import replacing
from core.errors import DataError, MissingArtifact, StaleArtifact, disk_errors_named
from core.stages import SPECS, Paths, Ref, Stage, is_model, order_of
from core.version import code_version

if TYPE_CHECKING:
    from pathlib import Path

    from core.records import Row

JSON = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Key:
    """The provenance of an artifact. Equal keys mean that it is current.

    `inputs` maps an artifact's address or a source file's name to its content hash; `config` is
    the part of the configuration the stage reads; `seed` the run's seed.
    """

    inputs: dict[str, str]
    config: JSON
    seed: int

    def difference(self, other: Key) -> str | None:
        """Describe how `other` differs from this key; None if it does not."""
        found = []
        for name in sorted({*self.inputs, *other.inputs}):
            mine, theirs = self.inputs.get(name), other.inputs.get(name)
            if mine != theirs:
                was = hashing.short(mine) if mine else "absent"
                now = hashing.short(theirs) if theirs else "absent"
                found.append(f"input {name} was {was}, is {now}")
        before, after = _flat(self.config), _flat(other.config)
        found += [
            f"{name} was {before.get(name)!r}, is {after.get(name)!r}"
            for name in sorted({*before, *after})
            if before.get(name) != after.get(name)
        ]
        if self.seed != other.seed:
            found.append(f"seed was {self.seed}, is {other.seed}")
        return "; ".join(found) or None


def _flat(tree: Mapping[str, Any], prefix: str = "") -> JSON:
    out: JSON = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            out.update(_flat(value, f"{prefix}{name}."))
        else:
            out[prefix + name] = value
    return out


@dataclass(frozen=True, slots=True)
class FileStamp:
    """A file as it was when its manifest was written: hash, and size and time to notice changes."""

    sha256: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The record of one finished artifact: what it is, what it was made from, and by what."""

    artifact: str
    key: Key
    sha256: str
    files: dict[str, FileStamp]
    rows: int | None
    counts: dict[str, int]
    facts: JSON
    engine: str | None
    code_version: str
    seconds: float
    finished_at: str
    schema_version: int = 1

    @property
    def models(self) -> frozenset[str]:
        """The content hashes of the models it was made from: of judgments, who judged."""
        return frozenset(
            digest
            for name, digest in self.key.inputs.items()
            if name.startswith("judge:") or ((ref := Ref.parse(name)) is not None and is_model(ref))
        )


_MANIFESTS = TypeAdapter(Manifest)


class Store:
    """The artifacts of one run folder.

    `others`: runs from which artifacts with the same key are taken (core/reuse.py).
    """

    def __init__(self, root: Path, reuse: Sequence[Path] = ()) -> None:
        self.paths = Paths(root)
        self.others = [Store(run) for run in reuse if run.resolve() != root.resolve()]

    def manifest(self, ref: Ref) -> Manifest:
        """Return an artifact's manifest.

        Raises:
            MissingArtifact: it has not been made.
            DataError: the manifest was damaged.
        """
        path = self.paths.manifest(ref)
        if not path.is_file():
            message = (
                f"{ref}: not made yet in {self.paths.root}; "
                f"run `make train-iter ITER={max(1, ref.iteration)}` with this run's CONFIG first"
            )
            raise MissingArtifact(message)
        try:
            return _MANIFESTS.validate_json(path.read_bytes())
        except ValidationError as error:
            raise DataError(
                path, None, f"damaged manifest ({error.errors()[0]['msg']}); redo {ref}"
            ) from None

    def artifacts(self) -> dict[str, Ref]:
        """Return every complete artifact by its address: training by iteration, then evaluation."""
        root, suffix = self.paths.root, ".manifest.json"
        paths = sorted((*root.glob(f"iter*/*{suffix}"), *root.glob(f"eval/**/*{suffix}")))
        names = [path.relative_to(root).as_posix().removesuffix(suffix) for path in paths]
        refs = [ref for name in names if (ref := Ref.parse(name)) is not None]
        refs.sort(key=lambda ref: (bool(ref.address), ref.iteration))
        return {str(ref): ref for ref in refs}

    def exists(self, ref: Ref) -> bool:
        """Whether the artifact is complete."""
        return self.paths.manifest(ref).is_file()

    def is_current(self, ref: Ref, key: Key) -> bool:
        """Whether a complete artifact was made from exactly `key`; False if there is none.

        Raises:
            StaleArtifact: it, or its unfinished partial file, was made from something else, or its
                files were changed since; the message names what. A partial file without rows, as a
                failed first try leaves it, is removed instead.
        """
        if not self.exists(ref):
            header = self._partial_key(ref)
            if header is not None and (changed := header.difference(key)):
                if self._holds_nothing(ref):
                    self.paths.partial(ref).unlink()
                    return False
                raise StaleArtifact(_stale(ref, "was begun with other settings", changed))
            return False
        manifest = self.manifest(ref)
        if changed := manifest.key.difference(key):
            raise StaleArtifact(_stale(ref, "was made with other settings", changed))
        self.verify(ref, manifest)
        return True

    def verify(self, ref: Ref, manifest: Manifest | None = None, *, rehash: bool = False) -> None:
        """Check that an artifact's files are those its manifest describes.

        A file whose size and modification time are as recorded is trusted; any other is hashed
        again. `rehash` hashes every file.

        Raises:
            StaleArtifact: a file is missing or its bytes changed.
        """
        manifest = manifest or self.manifest(ref)
        folder = self.paths.folder(ref)
        for name, stamp in manifest.files.items():
            path = folder / name
            if path.is_symlink() and not path.exists():
                setting = "model.base" if ref.stage is Stage.BASE else "m1.model"
                message = (
                    f"{ref}: {path} is a link to {path.readlink()}, which is not there; set "
                    f"{setting} to where that folder is now and run `make train-iter` once"
                )
                raise StaleArtifact(message)
            if not path.is_file():
                raise StaleArtifact(_stale(ref, "is incomplete", f"file {path} is missing"))
            stat = path.stat()
            if not rehash and (stat.st_size, stat.st_mtime_ns) == (stamp.size, stamp.mtime_ns):
                continue
            now = hashing.sha256_file(path)
            if now != stamp.sha256:
                changed = (
                    f"the bytes of {path} changed since its manifest was written "
                    f"(sha256 was {hashing.short(stamp.sha256)}, is {hashing.short(now)})"
                )
                raise StaleArtifact(_stale(ref, "was altered", changed))

    def read(self, ref: Ref) -> list[Any]:
        """Return a complete artifact's rows as records.

        Raises:
            MissingArtifact: it has not been made.
            StaleArtifact: its file was altered.
        """
        self.verify(ref)
        return jsonl.read_records(self.paths.artifact(ref), _record(ref))

    def model(self, ref: Ref) -> Path:
        """Return the folder of a complete model artifact.

        Raises:
            MissingArtifact: it has not been made.
        """
        self.manifest(ref)
        return self.paths.artifact(ref)

    def dependents(self, first: Ref, refs: Iterable[Ref]) -> list[Ref]:
        """Return `first` and those of `refs`, finished or begun, that were made from it."""
        gone = [first]
        for ref in sorted(refs, key=order_of):
            if ref == first:
                continue
            key = self.manifest(ref).key if self.exists(ref) else self._partial_key(ref)
            if key and any(str(other) in key.inputs for other in gone):
                gone.append(ref)
        return gone

    def remove(self, refs: Iterable[Ref]) -> list[Ref]:
        """Remove artifacts, finished or begun; return those of which something was there.

        Later ones go first and manifests before files, so a kill in between leaves nothing that
        looks complete or lacks its inputs.
        """
        gone = []
        for ref in sorted(refs, key=order_of, reverse=True):
            files = (self.paths.partial(ref), self.paths.metrics(ref), self.paths.verdicts(ref))
            found = self.exists(ref) or any(f.exists() for f in (*files, self.paths.work(ref)))
            self.paths.manifest(ref).unlink(missing_ok=True)
            for file in files:
                file.unlink(missing_ok=True)
            shutil.rmtree(self.paths.work(ref), ignore_errors=True)
            if is_model(ref):
                shutil.rmtree(self.paths.artifact(ref), ignore_errors=True)
            else:
                self.paths.artifact(ref).unlink(missing_ok=True)
            if found:
                gone.append(ref)
        return gone[::-1]

    def begin(self, ref: Ref, key: Key) -> Partial:
        """Open the partial file of a row stage, keeping the rows of an earlier, killed run."""
        return Partial(self, ref, key)

    def commit_model(self, ref: Ref, key: Key, built: Path, result: Built) -> Manifest:
        """Move a finished model folder into place and write its manifest; clears scratch files."""
        target = self.paths.artifact(ref)
        with disk_errors_named(target):
            if target.exists():
                shutil.rmtree(target)
            built.replace(target)
            logs = [p for p in (self.paths.metrics(ref), self.paths.verdicts(ref)) if p.exists()]
            manifest = self.finish(ref, key, hashing.model_files(target), result, logs=logs)
        shutil.rmtree(self.paths.work(ref), ignore_errors=True)
        return manifest

    def finish(
        self, ref: Ref, key: Key, files: list[Path], result: Built, *, logs: Sequence[Path] = ()
    ) -> Manifest:
        """Write the manifest of files in place; `logs` are not part of the content hash."""
        folder = self.paths.folder(ref)
        stamps = {p.relative_to(folder).as_posix(): _stamp(p) for p in (*files, *logs)}
        content = list(stamps.items())[: len(files)]
        manifest = Manifest(
            artifact=str(ref),
            key=key,
            sha256=hashing.sha256_json({name: stamp.sha256 for name, stamp in content}),
            files=stamps,
            rows=result.rows,
            counts=result.counts,
            facts=result.facts,
            engine=result.engine,
            code_version=code_version(),
            seconds=round(result.seconds, 3),
            finished_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        )
        text = json.dumps(asdict(manifest), indent=1, ensure_ascii=False) + "\n"
        write_atomically(self.paths.manifest(ref), text)
        return manifest

    def _partial_key(self, ref: Ref) -> Key | None:
        """Return the key a partial artifact was begun with, if there is a readable one."""
        path = self.paths.work(ref) / "key.json" if is_model(ref) else self.paths.partial(ref)
        try:
            with path.open("rb") as file:
                first = file.readline()
        except FileNotFoundError:
            return None
        return _read_header(first)

    def _holds_nothing(self, ref: Ref) -> bool:
        """Whether a partial file has no row after its header."""
        if is_model(ref):
            return False
        with self.paths.partial(ref).open("rb") as file:
            file.readline()
            return not file.readline().endswith(b"\n")

    def begin_model(self, ref: Ref, key: Key) -> Path:
        """Return the scratch folder of a model stage, marked with the key it was begun with."""
        work = self.paths.work(ref)
        with disk_errors_named(work):
            if not work.exists():  # logs that a killed `take` left are another run's too
                for log in (self.paths.metrics(ref), self.paths.verdicts(ref)):
                    log.unlink(missing_ok=True)
            work.mkdir(parents=True, exist_ok=True)
            write_atomically(work / "key.json", _header(key))
        return work


@dataclass(frozen=True, slots=True)
class Built:
    """The result of a stage, for the manifest and the tables."""

    rows: int | None = None
    counts: dict[str, int] = field(default_factory=dict)
    facts: JSON = field(default_factory=dict)
    engine: str | None = None
    seconds: float = 0.0


class Partial:
    """A row artifact being made: holds the finished rows, appends new ones, then commits.

    Use as a context manager. `rows` maps keys to the rows that are there, of this run and of
    earlier, killed ones; they stay on the disk and are read when asked for.
    """

    def __init__(self, store: Store, ref: Ref, key: Key) -> None:
        self._store, self._ref, self._key = store, ref, key
        self._path = store.paths.partial(ref)
        self._log = AppendLog(self._path, read=False)
        self.rows = LoggedRows(self._log, _record(ref), self._path)
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        """Note the rows of an earlier run, or write the header of a new file.

        Raises:
            DataError: the file was damaged otherwise than by a kill.
        """
        self._log.__enter__()
        try:
            self._load()
        except BaseException:
            self._log.__exit__()
            raise
        return self

    def _load(self) -> None:
        lines = self._log.objects()
        begin, header = next(lines, (0, None))
        if header is None:
            begin = self._log.append(_header(self._key))
        elif _read_header(json.dumps(header).encode()) is None:
            what = f"not the header of a partial file; rebuild with --redo {self._ref}"
            raise DataError(self._path, 1, what)
        self.rows.load(begin, lines)

    def __exit__(self, *_: object) -> None:
        self._log.__exit__()

    def add(self, row: Row) -> None:
        """Append one finished row; it survives a kill from here on."""
        if row.key in self.rows:
            raise ValueError(f"{self._ref}: row {row.key!r} was added twice")
        self.rows.append(row)

    def add_missing(self, rows: Iterable[Row]) -> None:
        """Append those rows that an earlier, killed run has not finished."""
        for row in rows:
            if row.key not in self.rows:
                self.add(row)

    def commit(self, order: Callable[[Any], Any], result: Built) -> Manifest:
        """Write the rows sorted by `order`, then the manifest; removes the partial file."""
        target = self._store.paths.artifact(self._ref)
        with disk_errors_named(target):
            jsonl.write_encoded(target, self.rows.lines(order))
            seconds = result.seconds or time.monotonic() - self._began
            done = replace(result, rows=len(self.rows), seconds=seconds)
            manifest = self._store.finish(self._ref, self._key, [target], done)
            self._path.unlink()
        return manifest


def write_atomically(path: Path, content: str | bytes, *, mode: int = 0o666) -> None:
    """Replace a small file atomically: readers see the old content or the new, never a part.

    `mode`: the permissions of a new file, less the umask.
    """
    with disk_errors_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, mode=mode) as file:
            file.write(content.encode() if isinstance(content, str) else content)


def read_failures(record: Path) -> dict[str, str]:
    """Return the recorded failures: address below eval/ → why; {} if there are none.

    Raises:
        DataError: the file was damaged.
    """
    if not record.is_file():
        return {}
    try:
        return TypeAdapter(dict[str, dict[str, str]]).validate_json(record.read_bytes())["failed"]
    except (ValueError, KeyError):
        raise DataError(record, None, "damaged; remove it and run `make eval-all` again") from None


def write_failures(record: Path, failed: Mapping[str, str]) -> None:
    """Replace the recorded failures; the file sorts them by address."""
    text = json.dumps({"failed": dict(sorted(failed.items()))}, ensure_ascii=False, indent=1)
    write_atomically(record, text + "\n")


def _record(ref: Ref) -> type:
    record = SPECS[ref.stage].record
    if record is None:
        raise TypeError(f"{ref} is a model, not rows")
    return record


def _stamp(path: Path) -> FileStamp:
    stat = path.stat()
    return FileStamp(hashing.sha256_file(path), stat.st_size, stat.st_mtime_ns)


def _header(key: Key) -> str:
    return json.dumps({"key": asdict(key)}, ensure_ascii=False)


def _read_header(line: bytes) -> Key | None:
    try:
        return TypeAdapter(Key).validate_python(from_json(line)["key"])
    except (ValueError, KeyError, TypeError):
        # A header torn by a kill: nothing was finished after it, so the stage simply starts over.
        return None


def _stale(ref: Ref, what: str, changed: str) -> str:
    return (
        f"{ref} {what}: {changed}. Put the setting back, use another run name, "
        f"or rebuild it and all that follows with --redo {ref}"
    )
