"""Following a run's artifacts to what they were made from, and refusing what does not fit.

A report is worth reading only if every number in it was made from the artifacts that lie beside it:
their bytes are those of their manifests, and each manifest names the content of its inputs.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from core.benchmarks import Subject
from core.errors import StaleArtifact
from core.hashing import short
from core.stages import SPECS, Ref
from reports.document import Artifact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.config import Config
    from core.store import Manifest, Store


def verified(store: Store, *, rehash: bool = False) -> dict[str, Artifact]:
    """Check every artifact of a run and return what reports show of them, by address.

    Files whose size and time are as recorded are trusted unless `rehash`.

    Raises:
        StaleArtifact: a file changed after its manifest was written, or an artifact was made from
            another version of its input than lies there now; the message names both.
    """
    refs = store.artifacts()
    manifests = {address: store.manifest(ref) for address, ref in refs.items()}
    for address, ref in refs.items():
        store.verify(ref, manifests[address], rehash=rehash)
    for address, manifest in manifests.items():
        for name, digest in manifest.key.inputs.items():
            if Ref.parse(name) is not None:
                _check_input(refs[address], name, digest, manifests)
    return {address: _shown(store, refs[address], found) for address, found in manifests.items()}


def check_config(config: Config, artifacts: Mapping[str, Artifact]) -> None:
    """Check that a run's config.json is one that its artifacts were made with.

    Of a setting that changed between them any of their values will do.

    Raises:
        StaleArtifact: no artifact that depends on a setting was made with its value there.
    """
    made: dict[str, dict[str, str]] = {}
    for address, artifact in artifacts.items():
        for name, value in artifact.config.items():
            made.setdefault(name, {})[_comparable(name, value)] = address
    for name, values in made.items():
        try:
            now = _comparable(name, config.plain(name).get(name))
        except AttributeError:  # a study's facts, or a setting of another version
            continue
        if now not in values:
            then, address = next(iter(values.items()))
            message = (
                f"config.json does not belong to this run's results: {name} is {now} there, but "
                f"{address} was made with {then}; run `make train-iter` and `make eval-all` with "
                "the configuration that made them, or with --redo to make them again"
            )
            raise StaleArtifact(message)


def _comparable(name: str, value: Any) -> str:
    """Return a setting's value as text, without where a given model lies: its bytes count."""
    if name == "m1.model":
        value = value is not None
    if name == "model" and isinstance(value, dict):
        value = {k: v for k, v in value.items() if k not in ("base", "chat_template")}
    return json.dumps(value, sort_keys=True)


def _check_input(ref: Ref, name: str, digest: str, manifests: Mapping[str, Manifest]) -> None:
    subject = Subject.parse(ref.address)
    again = "run `make train-iter` and `make eval-all` with the run's configuration and --redo"
    if subject is not None and subject.facts.by_people:
        again = "run `srlm-eval human-results` with --run and the run's folder"
    if name not in manifests:
        message = f"{ref} was made from {name}, which is no longer there; {again}"
        raise StaleArtifact(message)
    now = manifests[name].sha256
    if now != digest:
        message = (
            f"{ref} was made from another {name} (sha256 was {short(digest)}, is "
            f"{short(now)}), so its numbers do not belong to what lies there now; {again}"
        )
        raise StaleArtifact(message)


def _shown(store: Store, ref: Ref, manifest: Manifest) -> Artifact:
    return Artifact(
        address=str(ref),
        title=SPECS[ref.stage].title,
        path=store.paths.artifact(ref).relative_to(store.paths.root).as_posix(),
        sha256=manifest.sha256,
        inputs=dict(sorted(manifest.key.inputs.items())),
        config=manifest.key.config,
        seed=manifest.key.seed,
        rows=manifest.rows,
        counts=manifest.counts,
        engine=manifest.engine,
        code_version=manifest.code_version,
        finished_at=manifest.finished_at,
        seconds=manifest.seconds,
    )
