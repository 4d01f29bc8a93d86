from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from core import reuse
from core.making import make_rows
from core.records import Judgment
from core.reuse import take
from core.stages import Ref, Stage
from core.store import Built, Key, Partial, Store

ROWS, MODEL = Ref(2, Stage.JUDGMENTS), Ref(2, Stage.MODEL)
KEY = Key(inputs={"iter2/candidates": "a" * 64}, config={"judge": {"draws": 3}}, seed=0)


@pytest.fixture
def other(tmp_path: Path) -> Store:
    """A run with judgments and a model, which has a log beside it."""
    made = Store(tmp_path / "other")
    make_rows(made, ROWS, KEY, judge)
    model(made, "weights")
    return made


@pytest.fixture
def store(tmp_path: Path, other: Store) -> Store:
    """A run that takes from the other one."""
    return Store(tmp_path / "run", [tmp_path / "run", other.paths.root])


def judge(out: Partial) -> Built:
    out.add_missing([Judgment("c0/j0", "c0", "p", 0, "Score: 4", 4.0, None, 5)])
    return Built()


def model(made: Store, weights: str, key: Key = KEY) -> None:
    folder = made.begin_model(MODEL, key) / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_text(weights)
    (folder / "config.json").write_text("{}")
    with made.paths.verdicts(MODEL).open("a") as log:
        log.write(f"{weights}\n")
    made.commit_model(MODEL, key, folder, Built())


def content(root: Path) -> dict[str, bytes]:
    files = [path for path in root.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


@pytest.mark.parametrize("ref", [ROWS, MODEL])
def test_an_artifact_with_the_same_key_is_the_same_file(
    store: Store, other: Store, ref: Ref
) -> None:
    assert not store.is_current(ref, KEY)
    assert take(store, ref, KEY)
    assert store.is_current(ref, KEY)
    assert store.manifest(ref) == other.manifest(ref)
    for name in store.manifest(ref).files:
        assert (store.paths.folder(ref) / name).samefile(other.paths.folder(ref) / name)


def test_another_key_is_not_taken(store: Store) -> None:
    for key in (
        replace(KEY, seed=1),
        replace(KEY, config={"judge": {"draws": 1}}),
        replace(KEY, inputs={"iter2/candidates": "b" * 64}),
    ):
        assert not take(store, ROWS, key)
    assert not store.paths.root.exists()


def test_making_rows_takes_them_where_they_are_made_already(store: Store) -> None:
    def never(out: Partial) -> Built:
        raise AssertionError

    assert make_rows(store, ROWS, KEY, never) is None
    assert [row.key for row in store.read(ROWS)] == ["c0/j0"]


def test_a_run_that_altered_its_artifact_is_passed_over_for_the_next(
    tmp_path: Path, other: Store
) -> None:
    third = Store(tmp_path / "third")
    make_rows(third, ROWS, KEY, judge)
    other.paths.artifact(ROWS).write_text("{}\n")
    store = Store(tmp_path / "run", [other.paths.root, third.paths.root])
    assert take(store, ROWS, KEY)
    assert store.paths.artifact(ROWS).samefile(third.paths.artifact(ROWS))


def test_unfinished_rows_are_kept_if_the_other_run_turns_out_to_be_altered(
    store: Store, other: Store
) -> None:
    with store.begin(ROWS, KEY) as out:
        judge(out)
    other.paths.artifact(ROWS).write_text("{}\n")
    assert not take(store, ROWS, KEY)
    with store.begin(ROWS, KEY) as out:
        assert list(out.rows) == ["c0/j0"]


def test_a_damaged_manifest_and_a_missing_run_are_passed_over(tmp_path: Path, other: Store) -> None:
    other.paths.manifest(ROWS).write_text("{")
    store = Store(tmp_path / "run", [tmp_path / "nowhere", other.paths.root])
    assert not take(store, ROWS, KEY)


@pytest.mark.parametrize(
    "name", ["../../outside", "pairs.jsonl", "judgments_2.jsonl", "/tmp/outside", ""]
)
def test_files_outside_the_artifact_are_not_touched(store: Store, other: Store, name: str) -> None:
    path = other.paths.manifest(ROWS)
    manifest = json.loads(path.read_text())
    manifest["files"][name] = next(iter(manifest["files"].values()))
    path.write_text(json.dumps(manifest))
    assert not take(store, ROWS, KEY)
    assert not store.paths.root.exists()


def test_redoing_here_leaves_the_other_run_as_it_was(store: Store, other: Store) -> None:
    before = content(other.paths.root)
    for ref in (ROWS, MODEL):
        assert take(store, ref, KEY)
    store.remove([ROWS, MODEL])
    model(store, "other weights", replace(KEY, seed=1))
    assert content(other.paths.root) == before


def test_redoing_there_leaves_this_run_as_it_was(store: Store, other: Store) -> None:
    assert take(store, MODEL, KEY)
    before = content(store.paths.root)
    other.remove([MODEL])
    model(other, "other weights", replace(KEY, seed=1))
    assert content(store.paths.root) == before
    store.verify(MODEL, rehash=True)


def test_unfinished_work_of_the_same_key_is_dropped(store: Store) -> None:
    with store.begin(ROWS, KEY) as out:
        judge(out)
    assert take(store, ROWS, KEY)
    assert not store.paths.partial(ROWS).exists()


@pytest.mark.parametrize("done", [0, 1, 2])
def test_a_kill_between_two_files_leaves_nothing_that_looks_made(
    store: Store, other: Store, done: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A model of two files and a log; the kill comes after `done` of them.
    left, link = [done], reuse._same_file

    def killed(source: Path, target: Path) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        link(source, target)

    before = content(other.paths.root)
    with monkeypatch.context() as patch:
        patch.setattr(reuse, "_same_file", killed)
        with pytest.raises(KeyboardInterrupt):
            take(store, MODEL, KEY)
    assert not store.exists(MODEL)
    again = Store(store.paths.root, [other.paths.root])
    assert take(again, MODEL, KEY)
    again.verify(MODEL, rehash=True)
    assert content(other.paths.root) == before


def test_what_a_killed_link_left_is_not_written_to_when_the_stage_is_made_after_all(
    store: Store, other: Store
) -> None:
    # Killed before its manifest, all files are there as links; then the other run is out of reach.
    assert take(store, MODEL, KEY)
    store.paths.manifest(MODEL).unlink()
    before = content(other.paths.root)
    model(Store(store.paths.root), "own weights")
    assert content(other.paths.root) == before
    assert store.paths.verdicts(MODEL).read_text() == "own weights\n"


def test_without_hard_links_it_is_a_copy_that_counts_as_unchanged(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "no hard links here")

    monkeypatch.setattr(os, "link", refused)
    assert take(store, ROWS, KEY)
    stamp = store.manifest(ROWS).files["judgments.jsonl"]
    assert store.paths.artifact(ROWS).stat().st_mtime_ns == stamp.mtime_ns
    assert not store.paths.artifact(ROWS).samefile(other.paths.artifact(ROWS))


def test_a_link_to_the_base_model_leads_to_the_same_place(
    tmp_path: Path, store: Store, other: Store
) -> None:
    weights = other.paths.artifact(MODEL) / "model.safetensors"
    elsewhere = tmp_path / "weights.safetensors"
    weights.rename(elsewhere)
    weights.symlink_to(elsewhere)
    assert take(store, MODEL, KEY)
    assert (store.paths.artifact(MODEL) / "model.safetensors").readlink() == elsewhere
