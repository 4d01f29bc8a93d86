import json
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import hashing, jsonl
from core.errors import DataError, MissingArtifact, StaleArtifact, StorageError
from core.records import Example, Judgment, LedgerRow, RankedPrompt, Row
from core.stages import Ref, Stage, stages_of
from core.store import Built, Key, Manifest, Store

JUDGMENTS = Ref(2, Stage.JUDGMENTS)
MODEL = Ref(2, Stage.MODEL)
KEY = Key(
    inputs={"iter2/candidates": "a" * 64},
    config={"judge": {"draws": 3, "temperature": 0.7}},
    seed=0,
)
OTHER_KEY = replace(KEY, seed=1)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "run")


def judgment(number: int, *, reply: str = "Score: 4", score: float | None = 4.0) -> Judgment:
    unparsed = None if score is not None else "no_score"
    return Judgment(f"c{number}/j0", f"c{number}", "p", 0, reply, score, unparsed, 5)


def by_key(row: Judgment) -> str:
    return row.key


def make(store: Store, rows: Sequence[Judgment], ref: Ref = JUDGMENTS, key: Key = KEY) -> Manifest:
    with store.begin(ref, key) as out:
        out.add_missing(rows)
        return out.commit(by_key, Built(counts={"judged": len(rows)}))


def interrupted(store: Store, rows: Sequence[Judgment], ref: Ref = JUDGMENTS) -> Path:
    """Do part of the work, and return the partial file that a kill leaves."""
    with store.begin(ref, KEY) as out:
        for row in rows:
            out.add(row)
    return store.paths.partial(ref)


def artifact_bytes(store: Store, ref: Ref = JUDGMENTS) -> bytes:
    return store.paths.artifact(ref).read_bytes()


def stale_message(store: Store, key: Key, ref: Ref = JUDGMENTS) -> str:
    with pytest.raises(StaleArtifact) as caught:
        store.is_current(ref, key)
    return str(caught.value)


def model_folder(store: Store, ref: Ref, weights: bytes = b"\x00\x01\x02") -> Path:
    """Return a finished model folder as a training stage leaves it in its scratch folder."""
    built = store.begin_model(ref, KEY) / "final"
    built.mkdir()
    (built / "model.safetensors").write_bytes(weights)
    (built / "config.json").write_text('{"layers": 2}')
    return built


def make_model(store: Store, ref: Ref = MODEL, weights: bytes = b"\x00\x01\x02") -> Manifest:
    built = model_folder(store, ref, weights)
    return store.commit_model(ref, KEY, built, Built(facts={"steps": 3}))


def change_unseen(path: Path, data: bytes) -> None:
    """Change a file's bytes but neither its size nor its modification time."""
    before = path.stat()
    assert len(data) == before.st_size
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


# ----- an artifact exists only once its manifest does


def test_an_artifact_exists_only_once_its_manifest_does(store: Store) -> None:
    with store.begin(JUDGMENTS, KEY) as out:
        out.add(judgment(0))
        assert not store.exists(JUDGMENTS)
        assert not store.is_current(JUDGMENTS, KEY)
        with pytest.raises(MissingArtifact):
            store.read(JUDGMENTS)
        out.commit(by_key, Built())
    assert store.exists(JUDGMENTS)
    assert store.is_current(JUDGMENTS, KEY)
    assert store.read(JUDGMENTS) == [judgment(0)]
    assert not store.paths.partial(JUDGMENTS).exists()


def test_rows_without_a_manifest_are_not_an_artifact_and_are_made_again(store: Store) -> None:
    # What a kill between the rename of the rows and the manifest leaves behind.
    whole = Store(store.paths.root.with_name("whole"))
    make(whole, [judgment(0), judgment(1)])
    interrupted(store, [judgment(0), judgment(1)])
    shutil.copy(whole.paths.artifact(JUDGMENTS), store.paths.artifact(JUDGMENTS))
    assert not store.exists(JUDGMENTS)
    assert not store.is_current(JUDGMENTS, KEY)
    make(store, [judgment(0), judgment(1)])
    assert artifact_bytes(store) == artifact_bytes(whole)
    assert store.is_current(JUDGMENTS, KEY)


def test_what_is_missing_is_named_with_the_command_that_makes_it(store: Store) -> None:
    with pytest.raises(MissingArtifact) as caught:
        store.manifest(JUDGMENTS)
    assert str(caught.value).startswith(f"iter2/judgments: not made yet in {store.paths.root};")
    assert "make train-iter ITER=2" in str(caught.value)
    # M0 is made on the way to M1: there is no ITER=0.
    with pytest.raises(MissingArtifact, match=r"iter0/base: .*ITER=1"):
        store.model(Ref(0, Stage.BASE))


def test_a_manifest_records_what_was_made_from_what(store: Store) -> None:
    make(store, [judgment(0), judgment(1)])
    manifest = store.manifest(JUDGMENTS)
    assert manifest.artifact == "iter2/judgments"
    assert manifest.key == KEY
    assert (manifest.rows, manifest.counts) == (2, {"judged": 2})
    stamp = manifest.files["judgments.jsonl"]
    assert stamp.sha256 == hashing.sha256_file(store.paths.artifact(JUDGMENTS))
    assert stamp.size == len(artifact_bytes(store))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", manifest.finished_at)


def test_an_artifact_of_no_rows_exists(store: Store) -> None:
    assert make(store, []).rows == 0
    assert store.is_current(JUDGMENTS, KEY)
    assert store.read(JUDGMENTS) == []


def test_a_damaged_manifest_is_a_data_error_naming_the_file(store: Store) -> None:
    make(store, [judgment(0)])
    path = store.paths.manifest(JUDGMENTS)
    whole = path.read_text()
    for damage in (whole[: len(whole) // 2], "", whole.replace('"seed": 0', '"seed": "x"'), "[]"):
        path.write_text(damage)
        with pytest.raises(DataError) as caught:
            store.is_current(JUDGMENTS, KEY)
        assert str(caught.value).startswith(f"{path}: damaged manifest")
        assert "redo iter2/judgments" in str(caught.value)


def test_models_are_not_read_as_rows_and_begin_no_partial_file(store: Store) -> None:
    make_model(store)
    with pytest.raises(TypeError, match="iter2/model is a model, not rows"):
        store.read(MODEL)
    with pytest.raises(TypeError, match="iter2/model is a model, not rows"):
        store.begin(MODEL, KEY)


# ----- killed and resumed


def test_finished_rows_survive_and_a_torn_last_line_is_cut(store: Store) -> None:
    partial = interrupted(store, [judgment(0), judgment(1), judgment(2)])
    data = partial.read_bytes()
    partial.write_bytes(data[:-10])  # inside the line of row 2
    with store.begin(JUDGMENTS, KEY) as out:
        assert out.rows == {"c0/j0": judgment(0), "c1/j0": judgment(1)}
        out.add(judgment(2))
    assert partial.read_bytes() == data  # not one byte of the torn line is left


def test_resumed_rows_are_kept_and_the_files_do_not_depend_on_the_order_of_arrival(
    store: Store, tmp_path: Path
) -> None:
    rows = [judgment(n, reply=f"reply {n}", score=n / 2) for n in range(5)]
    at_once = Store(tmp_path / "at once")
    make(at_once, rows)
    interrupted(store, [rows[4], rows[1]])
    with store.begin(JUDGMENTS, KEY) as out:
        assert set(out.rows) == {"c4/j0", "c1/j0"}
        for row in (rows[3], rows[0], rows[2]):
            out.add(row)
        manifest = out.commit(by_key, Built())
    assert artifact_bytes(store) == artifact_bytes(at_once)
    assert manifest.sha256 == at_once.manifest(JUDGMENTS).sha256
    assert store.read(JUDGMENTS) == rows
    assert manifest.rows == 5


def test_a_row_artifacts_digest_is_that_of_its_rows(tmp_path: Path) -> None:
    # What a later stage's key holds: equal rows are the same input, any other row is not.
    first = make(Store(tmp_path / "a"), [judgment(0)]).sha256
    assert make(Store(tmp_path / "b"), [judgment(0)], key=OTHER_KEY).sha256 == first
    assert make(Store(tmp_path / "c"), [judgment(0, reply="Score: 4.")]).sha256 != first


def test_rows_are_committed_in_the_order_asked_for(store: Store) -> None:
    with store.begin(JUDGMENTS, KEY) as out:
        for number in (1, 3, 2):
            out.add(judgment(number, score=float(number)))
        out.commit(lambda row: -row.score, Built())
    assert [row.score for row in store.read(JUDGMENTS)] == [3.0, 2.0, 1.0]


def test_a_row_is_refused_a_second_time_also_after_a_kill(store: Store) -> None:
    with store.begin(JUDGMENTS, KEY) as out:
        out.add(judgment(0))
        with pytest.raises(ValueError, match=r"iter2/judgments: row 'c0/j0' was added twice"):
            out.add(judgment(0, reply="another reply"))
    with store.begin(JUDGMENTS, KEY) as out:
        with pytest.raises(ValueError, match="added twice"):
            out.add(judgment(0, reply="another reply"))
        out.commit(by_key, Built())
    assert store.read(JUDGMENTS) == [judgment(0)]


def test_a_partial_file_with_a_damaged_row_is_refused_by_line(store: Store) -> None:
    partial = interrupted(store, [judgment(0), judgment(1)])
    partial.write_text(partial.read_text().replace('"c1", "prompt_key"', '"c1", "prompt_kex"'))
    with pytest.raises(DataError) as caught, store.begin(JUDGMENTS, KEY):
        pytest.fail("damaged rows were accepted")
    assert str(caught.value).startswith(f"{partial}:3: prompt_kex: unknown field")


def test_a_partial_file_without_its_header_is_refused_rather_than_trusted(store: Store) -> None:
    # Without the header nobody knows the settings; and the first row would be taken for it.
    partial = interrupted(store, [judgment(0), judgment(1)])
    partial.write_text("".join(partial.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(DataError) as caught, store.begin(JUDGMENTS, KEY):
        pytest.fail("rows of unknown settings were accepted")
    assert str(caught.value).startswith(f"{partial}:1: not the header of a partial file")
    assert "--redo iter2/judgments" in str(caught.value)


def test_a_whole_number_in_a_fractional_field_is_written_alike_killed_or_not(
    store: Store, tmp_path: Path
) -> None:
    # The row says 4, its type 4.0: read and written again it would differ from a run never killed.
    rows = [judgment(0, score=4), judgment(1, score=4.0)]
    at_once = Store(tmp_path / "at once")
    make(at_once, rows)
    interrupted(store, rows)
    make(store, rows)
    assert artifact_bytes(store) == artifact_bytes(at_once)
    assert artifact_bytes(store).count(b'"score": 4,') == 1


def test_a_stage_reads_back_what_it_added_itself(store: Store) -> None:
    with store.begin(JUDGMENTS, KEY) as out:
        assert not out.rows
        out.add(judgment(0))
        assert out.rows["c0/j0"] == judgment(0)
        assert list(out.rows.values()) == [judgment(0)]


def full_disk(path: Path, patch: pytest.MonkeyPatch) -> Path:
    """Let the file that will replace `path` lie on a full disk; return it."""
    patch.setattr("core.atomic.secrets.token_hex", lambda _: "0")
    full = path.with_name(f"{path.name}.0.tmp")
    full.symlink_to("/dev/full")
    return full


def test_a_full_disk_at_the_end_loses_no_row_and_the_next_run_commits_them(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [judgment(0), judgment(1)]
    target = store.paths.artifact(JUDGMENTS)
    target.parent.mkdir(parents=True)
    full = full_disk(target, monkeypatch)
    with pytest.raises(StorageError) as caught:
        make(store, rows)
    assert str(caught.value).startswith(f"{target}: No space left on device")
    assert not store.exists(JUDGMENTS)
    assert not full.is_symlink()  # nothing of it is left
    monkeypatch.undo()
    with store.begin(JUDGMENTS, KEY) as out:
        assert list(out.rows.values()) == rows
        out.commit(by_key, Built())
    assert store.read(JUDGMENTS) == rows


def test_a_full_disk_at_the_manifest_leaves_nothing_that_looks_finished(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = store.paths.manifest(JUDGMENTS)
    manifest.parent.mkdir(parents=True)
    full = full_disk(manifest, monkeypatch)
    with pytest.raises(StorageError) as caught:
        make(store, [judgment(0)])
    assert str(caught.value).startswith(f"{manifest}: No space left on device")
    assert not store.exists(JUDGMENTS)
    assert not full.is_symlink()
    monkeypatch.undo()
    make(store, [judgment(0)])
    assert store.is_current(JUDGMENTS, KEY)


def test_a_kill_at_every_single_byte_leaves_a_file_that_the_next_run_completes(
    store: Store,
) -> None:
    rows = [judgment(0, reply="é\n"), judgment(1, score=None)]
    partial = interrupted(store, rows)
    whole = partial.read_bytes()
    for cut in range(len(whole) + 1):
        partial.write_bytes(whole[:cut])
        assert not store.is_current(JUDGMENTS, KEY)
        with store.begin(JUDGMENTS, KEY) as out:
            # Header, row 0, row 1: a row is there if and only if its line break is.
            assert list(out.rows.values()) == rows[: max(0, whole[:cut].count(b"\n") - 1)]
            for row in rows[len(out.rows) :]:
                out.add(row)
        assert partial.read_bytes() == whole


judgments = st.lists(
    st.builds(
        lambda number, reply, score: judgment(number, reply=reply, score=score),
        st.integers(0, 99),
        st.text(max_size=20),
        st.none() | st.floats(0, 5),
    ),
    max_size=6,
    unique_by=by_key,
)


@settings(max_examples=40, deadline=None)
@given(
    rows=judgments,
    again=st.randoms(use_true_random=False),
    kills=st.lists(st.tuples(st.integers(0, 6), st.floats(0, 1)), min_size=1, max_size=3),
)
def test_any_rows_killed_at_any_byte_and_resumed_give_the_bytes_of_an_unbroken_run(
    rows: list[Judgment], again: Random, kills: list[tuple[int, float]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        whole, broken = Store(Path(folder) / "whole"), Store(Path(folder) / "broken")
        make(whole, rows)
        for more, share in kills:
            # A run does some rows, in any order; the kill keeps any number of the file's bytes.
            assert not broken.is_current(JUDGMENTS, KEY)
            arrival = again.sample(rows, len(rows))
            with broken.begin(JUDGMENTS, KEY) as out:
                for row in [row for row in arrival if row.key not in out.rows][:more]:
                    out.add(row)
            partial = broken.paths.partial(JUDGMENTS)
            data = partial.read_bytes()
            kept = data[: round(share * len(data))]
            partial.write_bytes(kept)
            # Exactly the rows whose line break was written are there again.
            with broken.begin(JUDGMENTS, KEY) as out:
                assert len(out.rows) == max(0, kept.count(b"\n") - 1)
        make(broken, rows)
        assert artifact_bytes(broken) == artifact_bytes(whole)
        assert broken.read(JUDGMENTS) == sorted(rows, key=by_key)
        assert broken.manifest(JUDGMENTS).sha256 == whole.manifest(JUDGMENTS).sha256


# ----- stale artifacts say what changed


@pytest.mark.parametrize(
    ("key", "changed"),
    [
        (
            replace(KEY, config={"judge": {"draws": 5, "temperature": 0.7}}),
            "judge.draws was 3, is 5",
        ),
        (replace(KEY, config={"judge": {"draws": 3}}), "judge.temperature was 0.7, is None"),
        (
            replace(KEY, inputs={"iter2/candidates": "b" * 64}),
            "input iter2/candidates was aaaaaaaaaaaa, is bbbbbbbbbbbb",
        ),
        (
            replace(KEY, inputs={**KEY.inputs, "iter1/sft": "c" * 64}),
            "input iter1/sft was absent, is cccccccccccc",
        ),
        (replace(KEY, inputs={}), "input iter2/candidates was aaaaaaaaaaaa, is absent"),
        (OTHER_KEY, "seed was 0, is 1"),
        (
            replace(OTHER_KEY, config={"judge": {"draws": 5, "temperature": 0.0}}),
            "judge.draws was 3, is 5; judge.temperature was 0.7, is 0.0; seed was 0, is 1",
        ),
    ],
    ids=["setting", "setting-gone", "input", "new-input", "input-gone", "seed", "several"],
)
def test_a_stale_artifact_says_what_changed_and_what_to_do(
    store: Store, key: Key, changed: str
) -> None:
    make(store, [judgment(0)])
    assert stale_message(store, key) == (
        f"iter2/judgments was made with other settings: {changed}. Put the setting back, use "
        "another run name, or rebuild it and all that follows with --redo iter2/judgments"
    )
    assert store.is_current(JUDGMENTS, KEY)  # asking changed nothing


def test_a_first_try_that_made_no_row_does_not_block_the_corrected_one(store: Store) -> None:
    partial = interrupted(store, [])
    assert not store.is_current(JUDGMENTS, OTHER_KEY)
    assert not partial.exists()
    assert make(store, [judgment(0)], key=OTHER_KEY).key == OTHER_KEY
    # A row whose end was lost in a kill is no row.
    store.remove([JUDGMENTS])
    partial = interrupted(store, [])
    partial.write_bytes(partial.read_bytes() + b'{"key": "c0/j0", "subj')
    assert not store.is_current(JUDGMENTS, OTHER_KEY)


def test_a_partial_file_begun_with_other_settings_is_stale_and_its_rows_are_kept(
    store: Store,
) -> None:
    partial = interrupted(store, [judgment(0)])
    before = partial.read_bytes()
    message = stale_message(store, OTHER_KEY)
    assert message.startswith("iter2/judgments was begun with other settings: seed was 0, is 1.")
    assert partial.read_bytes() == before
    assert not store.is_current(JUDGMENTS, KEY)  # the old settings may go on


def test_a_training_begun_with_other_settings_is_stale(store: Store) -> None:
    store.begin_model(MODEL, KEY)
    message = stale_message(store, OTHER_KEY, MODEL)
    assert message.startswith("iter2/model was begun with other settings: seed was 0, is 1.")
    assert not store.is_current(MODEL, KEY)


def test_an_artifact_never_begun_is_not_current_under_any_settings(store: Store) -> None:
    assert not store.is_current(JUDGMENTS, KEY)
    assert not store.is_current(MODEL, OTHER_KEY)


def test_settings_that_went_through_json_are_the_same_settings(store: Store) -> None:
    # 1.0 and lists come back from JSON as they were; nothing is stale after a restart.
    key = Key({}, {"a": {"share": 1.0, "none": None, "names": ["x", "é"]}, "b": 1e-6}, 3)
    make(store, [judgment(0)], key=key)
    assert Store(store.paths.root).is_current(JUDGMENTS, key)


# ----- altered files


def test_a_changed_byte_is_detected_and_the_file_named(store: Store) -> None:
    make(store, [judgment(0)])
    path = store.paths.artifact(JUDGMENTS)
    was, data = hashing.sha256_file(path), artifact_bytes(store)
    path.write_bytes(data.replace(b"Score: 4", b"Score: 5"))
    os.utime(path, ns=(0, 0))
    now = hashing.sha256_file(path)
    message = stale_message(store, KEY)
    assert message.startswith(f"iter2/judgments was altered: the bytes of {path} changed")
    assert f"(sha256 was {was[:12]}, is {now[:12]})" in message
    with pytest.raises(StaleArtifact, match="was altered"):
        store.read(JUDGMENTS)


def test_an_added_byte_is_detected_even_with_the_old_modification_time(store: Store) -> None:
    make(store, [judgment(0)])
    path = store.paths.artifact(JUDGMENTS)
    before = path.stat()
    path.write_bytes(artifact_bytes(store) + b"\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(StaleArtifact, match="was altered"):
        store.verify(JUDGMENTS)


def test_a_file_of_unchanged_size_and_time_is_trusted_unless_a_rehash_is_asked_for(
    store: Store,
) -> None:
    make(store, [judgment(0)])
    path = store.paths.artifact(JUDGMENTS)
    store.verify(JUDGMENTS, rehash=True)
    change_unseen(path, artifact_bytes(store).replace(b"Score: 4", b"Score: 5"))
    store.verify(JUDGMENTS)  # trusted: hashing a 70B model for each command would take minutes
    assert store.is_current(JUDGMENTS, KEY)
    with pytest.raises(StaleArtifact, match=f"the bytes of {re.escape(str(path))} changed"):
        store.verify(JUDGMENTS, rehash=True)


def test_a_copied_file_with_a_new_time_and_the_same_bytes_is_current(store: Store) -> None:
    make(store, [judgment(0)])
    os.utime(store.paths.artifact(JUDGMENTS), ns=(0, 0))
    assert store.is_current(JUDGMENTS, KEY)


def test_a_lost_file_is_named(store: Store) -> None:
    make(store, [judgment(0)])
    path = store.paths.artifact(JUDGMENTS)
    path.unlink()
    assert f"iter2/judgments is incomplete: file {path} is missing" in stale_message(store, KEY)


# ----- models


def test_a_committed_model_lies_in_place_and_its_scratch_folder_is_gone(store: Store) -> None:
    work = store.begin_model(MODEL, KEY)
    (work / "checkpoint-200").mkdir()
    manifest = make_model(store)
    folder = store.model(MODEL)
    assert folder == store.paths.artifact(MODEL)
    assert (folder / "model.safetensors").read_bytes() == b"\x00\x01\x02"
    assert not work.exists()
    assert sorted(manifest.files) == ["model/config.json", "model/model.safetensors"]
    assert (manifest.rows, manifest.facts) == (None, {"steps": 3})
    assert store.is_current(MODEL, KEY)


def test_a_models_digest_is_that_of_its_files_so_one_weight_byte_changes_it(
    tmp_path: Path,
) -> None:
    same = [make_model(Store(tmp_path / name)).sha256 for name in ("a", "b")]
    other = make_model(Store(tmp_path / "c"), weights=b"\x00\x01\x03").sha256
    assert same[0] == same[1]
    assert other != same[0]


def test_the_training_log_is_guarded_but_no_part_of_the_models_digest(tmp_path: Path) -> None:
    # Its times differ between equal trainings; a model that depended on it would never be equal.
    plain = make_model(Store(tmp_path / "plain"))
    store = Store(tmp_path / "logged")
    built = model_folder(store, MODEL)
    log = store.paths.metrics(MODEL)
    log.write_text('{"step": 1, "seconds": 0.3}\n')
    logged = store.commit_model(MODEL, KEY, built, Built())
    assert logged.sha256 == plain.sha256
    assert "model.metrics.jsonl" in logged.files
    log.write_text("")
    with pytest.raises(StaleArtifact, match=f"the bytes of {re.escape(str(log))} changed"):
        store.verify(MODEL)


def test_a_changed_weight_byte_is_detected_after_the_commit(store: Store) -> None:
    make_model(store)
    weights = store.model(MODEL) / "model.safetensors"
    change_unseen(weights, b"\x00\x01\x03")
    assert store.is_current(MODEL, KEY)
    with pytest.raises(StaleArtifact, match=r"iter2/model was altered: .*model\.safetensors"):
        store.verify(MODEL, rehash=True)
    os.utime(weights, ns=(0, 0))
    assert f"the bytes of {weights} changed" in stale_message(store, KEY, MODEL)


def test_a_model_folder_left_without_a_manifest_is_replaced_whole(store: Store) -> None:
    # What a kill between the move and the manifest leaves behind.
    left = store.paths.artifact(MODEL)
    left.mkdir(parents=True)
    (left / "model.safetensors").write_bytes(b"old")
    (left / "generation_config.json").write_text("{}")
    assert not store.is_current(MODEL, KEY)
    make_model(store)
    assert sorted(path.name for path in left.iterdir()) == ["config.json", "model.safetensors"]
    assert (left / "model.safetensors").read_bytes() == b"\x00\x01\x02"


# ----- removing


def made_from(store: Store, ref: Ref, row: Row, *inputs: Ref) -> None:
    key = Key({str(i): store.manifest(i).sha256 for i in inputs}, {}, 0)
    with store.begin(ref, key) as out:
        out.add(row)
        out.commit(by_key, Built())


def test_dependents_are_what_was_made_from_it_directly_or_not_and_nothing_else(
    store: Store,
) -> None:
    refs = [Ref(k, stage) for k in range(3) for stage in stages_of(k)]
    ift, ranked, probe = Ref(1, Stage.IFT), Ref(1, Stage.RANKED), Ref(0, Stage.PROBE)
    judged, pairs = Ref(2, Stage.JUDGMENTS), Ref(2, Stage.PAIRS)
    ledger = LedgerRow("p", "prompt", "tie", (4.0, None), (3, 0))
    made_from(store, ift, Example("i", "p", "r"))
    made_from(store, ranked, RankedPrompt("q", "p", ()), ift)
    made_from(store, probe, judgment(0), ranked)
    made_from(store, judged, judgment(0), ift)
    made_from(store, pairs, ledger, judged)
    # M2 has only been begun: its key is in its scratch folder.
    model = Ref(2, Stage.MODEL)
    store.begin_model(model, Key({str(pairs): store.manifest(pairs).sha256}, {}, 0))
    # A leaf has no dependents; a probe is read by nobody, although it comes before M2.
    assert store.dependents(probe, refs) == [probe]
    assert store.dependents(ranked, refs) == [ranked, probe]
    assert store.dependents(judged, refs) == [judged, pairs, model]
    assert set(store.dependents(ift, refs)) == {ift, ranked, probe, judged, pairs, model}

    gone = store.remove(store.dependents(judged, refs))
    assert gone == [judged, pairs, model]
    assert [ref for ref in refs if store.exists(ref)] == [probe, ift, ranked]
    for ref in (ift, ranked, probe):
        store.verify(ref, rehash=True)


def test_removing_clears_partial_rows_scratch_folders_and_logs(store: Store) -> None:
    partial = interrupted(store, [judgment(0)])
    work = store.begin_model(MODEL, KEY)
    log, verdicts = store.paths.metrics(MODEL), store.paths.verdicts(MODEL)
    log.touch()
    verdicts.touch()
    assert set(store.remove([JUDGMENTS, MODEL])) == {JUDGMENTS, MODEL}
    for path in (partial, work, log, verdicts):
        assert not path.exists()
    assert not store.is_current(JUDGMENTS, OTHER_KEY)  # other settings may begin now
    assert not store.is_current(MODEL, OTHER_KEY)


def test_removing_what_is_not_there_removes_nothing(store: Store) -> None:
    make(store, [judgment(0)])
    assert store.remove([Ref(2, Stage.PAIRS)]) == []
    assert store.is_current(JUDGMENTS, KEY)


def test_an_artifact_with_a_damaged_manifest_can_be_removed_and_made_again(store: Store) -> None:
    make(store, [judgment(0)])
    store.paths.manifest(JUDGMENTS).write_text("{")
    assert store.dependents(JUDGMENTS, [JUDGMENTS]) == [JUDGMENTS]
    assert store.remove([JUDGMENTS]) == [JUDGMENTS]
    make(store, [judgment(1)])
    assert store.read(JUDGMENTS) == [judgment(1)]


# ----- files as other tools see them


def test_the_artifact_is_plain_jsonl_and_the_manifest_plain_json(store: Store) -> None:
    make(store, [judgment(0, reply="très\nbien")])
    lines = artifact_bytes(store).decode().split("\n")
    assert lines == [jsonl.encode(judgment(0, reply="très\nbien")), ""]
    manifest = json.loads(store.paths.manifest(JUDGMENTS).read_text())
    assert manifest["key"]["config"]["judge"] == {"draws": 3, "temperature": 0.7}
    assert manifest["schema_version"] == 1
    assert list(store.paths.folder(JUDGMENTS).glob("*.tmp")) == []
