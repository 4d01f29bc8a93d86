"""Results in other programs' formats: a run's are exported, recorded ones imported as artifacts.

What is imported lies in a folder that reports read like a run's, in `eval/<model>/<benchmark>/`,
with scores and with manifests that name the source. Importing the same file again does nothing;
another file is a StaleArtifact.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from core.benchmarks import SCORING, Subject
from core.errors import MissingArtifact, StaleArtifact
from core.hashing import sha256_file
from core.making import locked, make_rows
from core.progress import say
from core.stages import Stage
from core.store import Built, Key, Store
from evaluation.suite import BENCHMARKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from core.config import Config
    from core.records import Row, Score
    from core.store import Partial
    from evaluation.benchmark import Recorded

_SEED = 0
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def export(config: Config, folder: Path) -> list[Path]:
    """Write every finished result that has another program's format; return the files.

    Raises:
        MissingArtifact: there is none.
    """
    store, models = Store(config.folder), config.evaluation.models
    written = [path for b in BENCHMARKS if b.export for path in b.export(store, models, folder)]
    if not written:
        message = f"{config.folder}: no MT-Bench or AlpacaEval results yet; run `srlm-eval run`"
        raise MissingArtifact(message)
    return written


def import_results(folder: Path, found: Iterable[Recorded], *, redo: bool = False) -> list[str]:
    """Import results; return one line for each: "model benchmark: value (n)".

    `redo` replaces earlier imports of the same models.

    Raises:
        DataError: a file cannot be read, or mixes annotators.
        StaleArtifact: the folder holds results of the same model from another file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    store = Store(folder)
    with locked(store.paths.lock):
        return [_import(store, one, redo=redo) for one in found]


def _import(store: Store, found: Recorded, *, redo: bool) -> str:
    """Write rows and scores of one model unless they exist, scores also if other data made them."""
    subject = Subject(found.benchmark, (folder_name(found.model),))
    ref, scored = subject.ref(found.stage), subject.ref(Stage.SCORES)
    name = found.path.name
    key = Key({f"file:{name}": sha256_file(found.path)}, {}, _SEED)
    facts = {"imported": name, "model": found.model, **found.facts}
    if redo:
        store.remove([ref, scored])
    try:
        make_rows(store, ref, key, _writes(lambda: found.rows, facts), quiet=True)
    except StaleArtifact:
        message = (
            f"{ref} in {store.paths.root} was imported from another file than {found.path}; "
            "use another folder, or replace it with --redo"
        )
        raise StaleArtifact(message) from None
    key = Key(SCORING | {str(ref): store.manifest(ref).sha256, **found.sources}, {}, _SEED)
    make = _writes(found.scores, {})
    try:
        make_rows(store, scored, key, make, quiet=True)
    except StaleArtifact:
        say(f"{scored} is made again")
        store.remove([scored])
        make_rows(store, scored, key, make, quiet=True)
    headline = subject.facts.headline
    score: Score = next(score for score in store.read(scored) if score.key == headline)
    value = "–" if score.value is None else f"{score.value:.4f}"
    missing = f", {score.missing} missing" if score.missing else ""
    return f"{found.model} {found.benchmark}: {score.key} {value} (n={score.n}{missing})"


def _writes(rows: Callable[[], Iterable[Row]], facts: dict[str, str]) -> Callable[[Partial], Built]:
    def make(out: Partial) -> Built:
        out.add_missing(rows())
        return Built(facts=facts)

    return make


def folder_name(model: str) -> str:
    """Return a model's name as a folder: letters, digits, dot, dash and underscore."""
    return _UNSAFE.sub("_", model).lstrip(".") or "_"
