"""Making row artifacts (current ones are kept, unfinished ones resumed), and locking a run."""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from core.errors import RunLocked, disk_errors_named
from core.progress import duration, say
from core.reuse import take
from core.stages import SPECS, Ref
from core.store import Built, Key, Manifest, Partial, Store, write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from core.config import Config


# How any model is prompted.
HOW_PROMPTED = ("model.date", "model.chat_template_kwargs", "model.max_thinking_tokens")


def by_key(row: Any) -> Any:
    """Sort rows by their key."""
    return row.key


def artifact_key(
    store: Store,
    config: Config,
    inputs: Sequence[Ref],
    sections: Sequence[str],
    sources: dict[str, str],
) -> Key:
    """Return what an artifact depends on: contents of its inputs, settings, seed.

    Raises:
        MissingArtifact: an input has not been made.
    """
    hashes = {str(i): store.manifest(i).sha256 for i in inputs} | sources
    return Key(hashes, config.plain(*sections, *HOW_PROMPTED), config.seed)


def make_rows(
    store: Store,
    ref: Ref,
    key: Key,
    make: Callable[[Partial], Built],
    *,
    order: Callable[[Any], Any] = by_key,
    quiet: bool = False,
) -> Manifest | None:
    """Make a row artifact unless it exists already, resuming an unfinished one.

    Returns its manifest if it was made now, None if there was nothing to do or another run had it.
    `quiet`: print nothing; the caller prints one line for several artifacts.

    Raises:
        StaleArtifact: it exists but was made from other inputs or settings.
    """
    if store.is_current(ref, key) or take(store, ref, key):
        return None
    began = time.monotonic()
    if not quiet:
        say(f"{ref}: {SPECS[ref.stage].title}")
    with store.begin(ref, key) as out:
        if out.rows:
            say(f"  {len(out.rows)} rows are there already")
        manifest = out.commit(order, make(out))
    if not quiet:
        counts = ", ".join(f"{n.replace('_', ' ')} {c}" for n, c in manifest.counts.items())
        text = f": {counts}" if counts else ""
        say(f"  {manifest.rows} rows in {duration(time.monotonic() - began)}{text}")
    return manifest


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on `path`, which the kernel releases even after kill -9.

    A second process is refused instead of mixing its rows in.

    Raises:
        RunLocked: another process holds it; the message names its process id.
    """
    with disk_errors_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(handle, 32).decode(errors="replace").strip() or "unknown"
            message = (
                f"{path.parent}: another process (pid {holder}) is working on this run; "
                "wait for it, stop it, or use another run name"
            )
            raise RunLocked(message) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)


@contextmanager
def locked_run(config: Config, reuse: Sequence[Path] = ()) -> Iterator[Store]:
    """Lock the run's folder and write its resolved configuration there.

    `reuse`: run folders whose artifacts are taken where their keys are the same.

    Raises:
        RunLocked: another process is working on it.
    """
    store = Store(config.folder, reuse)
    with locked(store.paths.lock):
        text = json.dumps(config.model_dump(mode="json"), indent=1) + "\n"
        path = store.paths.config
        if not path.exists() or path.read_bytes() != text.encode():
            write_atomically(path, text)
        yield store
