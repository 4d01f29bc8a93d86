from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from core.errors import StaleArtifact
from core.stages import Ref, Stage, evaluation_ref
from core.store import Store
from reports.lineage import finished, parse_address, verified


@pytest.fixture
def copy(smoke_run: Path, tmp_path: Path) -> Store:
    shutil.copytree(smoke_run, tmp_path / "smoke", copy_function=shutil.copy2)
    return Store(tmp_path / "smoke")


def test_addresses_are_read_and_names_of_sources_are_not() -> None:
    assert parse_address("iter2/pairs") == Ref(2, Stage.PAIRS)
    whose = evaluation_ref("M2/nlp/arc_easy", Stage.ITEMS)
    assert parse_address("eval/M2/nlp/arc_easy/items") == whose
    for name in ("rubric:additive", "file:piqa.validation.jsonl", "iterX/pairs", "eval/M1/pairs"):
        assert parse_address(name) is None


def test_every_artifact_of_a_whole_run_is_verified(smoke_run: Path) -> None:
    artifacts = verified(Store(smoke_run))
    assert set(artifacts) == set(finished(Store(smoke_run)))
    assert {"iter0/base", "iter1/model", "iter2/pairs", "iter3/model"} <= set(artifacts)
    assert artifacts["iter2/model"].inputs["iter2/pairs"] == artifacts["iter2/pairs"].sha256
    assert artifacts["iter2/model"].path == "iter2/model"


def test_a_changed_weight_byte_is_noticed_and_named(copy: Store) -> None:
    weights = copy.paths.artifact(Ref(1, Stage.MODEL)) / "model.safetensors"
    with weights.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    with pytest.raises(StaleArtifact, match=r"^iter1/model was altered: the bytes of .*safetens"):
        verified(copy)


def test_a_changed_byte_behind_an_unchanged_time_needs_rehash(copy: Store) -> None:
    weights = copy.paths.artifact(Ref(2, Stage.MODEL)) / "model.safetensors"
    before = weights.stat()
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(StaleArtifact, match=r"^iter2/model was altered"):
        verified(copy, rehash=True)


def test_an_artifact_made_from_another_input_is_stale(copy: Store) -> None:
    # As if iteration 2's pairs had been made again, with M2 still from the old ones.
    path = copy.paths.manifest(Ref(2, Stage.PAIRS))
    old = copy.manifest(Ref(2, Stage.PAIRS)).sha256
    path.write_text(path.read_text().replace(f'"sha256": "{old}"', f'"sha256": "{"0" * 64}"', 1))
    with pytest.raises(StaleArtifact, match=r"^iter2/model was made from another iter2/pairs"):
        verified(copy)


def test_an_input_that_is_gone_is_named(copy: Store) -> None:
    copy.remove([Ref(3, Stage.CANDIDATES)])
    with pytest.raises(StaleArtifact, match=r"was made from iter3/candidates, which is no longer"):
        verified(copy)
