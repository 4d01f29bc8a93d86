from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.errors import StaleArtifact
from core.records import Candidate, Example, LedgerRow
from core.stages import Ref, Stage
from core.store import Built, Key, Store
from reports.lineage import verified
from tests.reports.runs import RunBuilder

IFT, M1 = Ref(1, Stage.IFT), Ref(1, Stage.MODEL)
CANDIDATES, PAIRS, M2 = (Ref(2, s) for s in (Stage.CANDIDATES, Stage.PAIRS, Stage.MODEL))


@pytest.fixture
def small(tmp_path: Path) -> Store:
    """IFT examples → M1 → candidates → pairs → M2, each made from what comes before it."""
    run = RunBuilder(tmp_path / "run")
    store = run.store

    def made_from(*refs: Ref) -> dict[str, str]:
        return {str(ref): store.manifest(ref).sha256 for ref in refs}

    def model(ref: Ref, *refs: Ref) -> None:
        built = tmp_path / "built"
        built.mkdir()
        (built / "model.safetensors").write_bytes(str(ref).encode())
        store.paths.folder(ref).mkdir(exist_ok=True)
        store.commit_model(ref, Key(made_from(*refs), {}, 0), built, Built())

    run.rows(IFT, [Example("a", "?", "!")], inputs={"file:seed.jsonl": "0" * 64})
    model(M1, IFT)
    run.rows(CANDIDATES, [Candidate("c", "p", 0, "!", 1, "stop")], inputs=made_from(M1))
    ledger = LedgerRow("p", "?", "tie", (1.0,), (1,))
    run.rows(PAIRS, [ledger], inputs=made_from(CANDIDATES))
    model(M2, PAIRS, M1)
    return store


def test_every_artifact_of_a_whole_run_is_verified(smoke_run: Path) -> None:
    artifacts = verified(Store(smoke_run))
    assert set(artifacts) == set(Store(smoke_run).artifacts())
    assert {"iter0/base", "iter1/model", "iter2/pairs", "iter3/model"} <= set(artifacts)
    assert artifacts["iter2/model"].inputs["iter2/pairs"] == artifacts["iter2/pairs"].sha256
    assert artifacts["iter2/model"].path == "iter2/model"


def test_a_changed_weight_byte_is_noticed_and_named(small: Store) -> None:
    weights = small.paths.artifact(M1) / "model.safetensors"
    with weights.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    with pytest.raises(StaleArtifact, match=r"^iter1/model was altered: the bytes of .*safetens"):
        verified(small)


def test_a_changed_byte_behind_an_unchanged_time_needs_rehash(small: Store) -> None:
    weights = small.paths.artifact(M2) / "model.safetensors"
    before = weights.stat()
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(StaleArtifact, match=r"^iter2/model was altered"):
        verified(small, rehash=True)


def test_an_artifact_made_from_another_input_is_stale(small: Store) -> None:
    # As if iteration 2's pairs had been made again, with M2 still from the old ones.
    path = small.paths.manifest(PAIRS)
    old = small.manifest(PAIRS).sha256
    path.write_text(path.read_text().replace(f'"sha256": "{old}"', f'"sha256": "{"0" * 64}"', 1))
    with pytest.raises(StaleArtifact, match=r"^iter2/model was made from another iter2/pairs"):
        verified(small)


def test_an_input_that_is_gone_is_named(small: Store) -> None:
    small.remove([CANDIDATES])
    with pytest.raises(StaleArtifact, match=r"was made from iter2/candidates, which is no longer"):
        verified(small)
