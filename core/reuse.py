"""Artifacts taken from other runs: what has the same key is made once and linked, not copied.

Runs that differ in one late setting share everything before it. A run's folder stays whole by
itself: it holds its own links and manifests, so another run may be redone, moved or deleted.
"""

from __future__ import annotations

import os
import shutil
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from core.errors import DataError, MissingArtifact, StaleArtifact, disk_errors_named
from core.progress import say
from core.store import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from core.stages import Ref
    from core.store import Key, Manifest, Store


def take(store: Store, ref: Ref, key: Key) -> bool:
    """Take a missing artifact from the first of `store.others` that made it from exactly `key`.

    False if none has it. What an earlier, killed command began of it here is dropped then.

    The other run is not locked: finished artifacts are never written to, and removing one begins
    with its manifest. What changed meanwhile is found when the links are verified.
    """
    for other in store.others:
        manifest = _manifest(other, ref)
        if manifest is None or manifest.key.difference(key) or not _is_inside(manifest, ref):
            continue
        try:
            other.verify(ref, manifest)
        except StaleArtifact:
            continue
        store.remove([ref])
        try:
            _link(other, store, ref, manifest)
        except (StaleArtifact, FileNotFoundError):  # removed there at this very moment
            store.remove([ref])
            continue
        say(f"{ref}: as in {other.paths.root}, linked")
        return True
    return False


def _manifest(other: Store, ref: Ref) -> Manifest | None:
    try:
        return other.manifest(ref)
    except (MissingArtifact, DataError):
        return None


def _is_inside(manifest: Manifest, ref: Ref) -> bool:
    """Whether the files that a manifest names are its artifact's: the run may be a stranger's."""
    paths = [PurePosixPath(name).parts for name in manifest.files]
    return all(p and p[0].split(".")[0] == ref.stage.value and ".." not in p for p in paths)


def _link(other: Store, store: Store, ref: Ref, manifest: Manifest) -> None:
    """Link an artifact's files, then write its manifest, so that a kill leaves none or a whole one.

    Raises:
        StaleArtifact, FileNotFoundError: it was altered or removed.
    """
    source, target = other.paths.folder(ref), store.paths.folder(ref)
    text = other.paths.manifest(ref).read_bytes()
    with disk_errors_named(target):
        for name in manifest.files:
            _same_file(source / name, target / name)
    store.verify(ref, manifest)
    write_atomically(store.paths.manifest(ref), text)


def _same_file(source: Path, target: Path) -> None:
    """Let `target` be the same file; a copy of the same age where the disk has no hard links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink():  # weights on another file system (engines.embedded)
        target.symlink_to(source.readlink())
        return
    try:
        os.link(source, target)
    except (FileNotFoundError, FileExistsError):
        raise
    except OSError:
        shutil.copy2(source, target)
