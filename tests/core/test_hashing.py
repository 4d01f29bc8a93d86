import hashlib
import os
from pathlib import Path

import pytest

from core import hashing
from core.errors import DataError

# The published SHA-256 of "abc" (FIPS 180-4, example 1).
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_text_and_file_hashes_are_the_published_sha256_of_abc(tmp_path: Path) -> None:
    path = tmp_path / "abc.txt"
    path.write_bytes(b"abc")
    assert hashing.sha256_text("abc") == ABC
    assert hashing.sha256_file(path) == ABC


def test_text_is_hashed_as_utf8() -> None:
    # é is the two bytes C3 A9 in UTF-8.
    assert hashing.sha256_text("é") == hashlib.sha256(b"\xc3\xa9").hexdigest()


def test_a_file_larger_than_one_chunk_is_hashed_whole(tmp_path: Path) -> None:
    # Chunks are 4 MiB; the last byte lies alone in the second chunk.
    path = tmp_path / "weights.bin"
    path.write_bytes(bytes(1 << 22) + b"\x01")
    with_one = hashing.sha256_file(path)
    assert with_one == hashlib.sha256(bytes(1 << 22) + b"\x01").hexdigest()
    path.write_bytes(bytes(1 << 22) + b"\x02")
    assert hashing.sha256_file(path) != with_one


def test_an_empty_file_has_the_hash_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert hashing.sha256_file(tmp_path / "empty") == hashing.sha256_text("")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.jsonl: no such file"):
        hashing.sha256_file(tmp_path / "nowhere.jsonl")


def test_json_hash_ignores_key_order_at_every_depth_but_not_values_or_list_order() -> None:
    first = hashing.sha256_json({"a": 1, "b": {"x": [1, 2], "y": "é"}})
    assert first == hashing.sha256_json({"b": {"y": "é", "x": [1, 2]}, "a": 1})
    assert first != hashing.sha256_json({"a": 1, "b": {"x": [2, 1], "y": "é"}})
    assert first != hashing.sha256_json({"a": 2, "b": {"x": [1, 2], "y": "é"}})
    # The hashed text is the sorted JSON itself, so it can be recomputed with any other tool.
    assert first == hashing.sha256_text('{"a": 1, "b": {"x": [1, 2], "y": "é"}}')


def test_a_model_is_its_weights_tokenizer_and_settings_but_no_checkpoint_or_subfolder(
    tmp_path: Path,
) -> None:
    for name in ("tokenizer.json", "model.safetensors", "chat_template.jinja", "merges.txt"):
        (tmp_path / name).touch()
    for name in ("optimizer.pt", "README.md", ".lock"):
        (tmp_path / name).touch()
    (tmp_path / "old.json").mkdir()
    found = [path.name for path in hashing.model_files(tmp_path)]
    assert found == ["chat_template.jinja", "merges.txt", "model.safetensors", "tokenizer.json"]


def test_a_short_hash_is_the_first_twelve_digits() -> None:
    assert hashing.short(ABC) == "ba7816bf8f01"


def test_a_folders_hash_is_of_its_contents_and_unchanged_files_are_not_read_again(
    tmp_path: Path,
) -> None:
    folder, cache = tmp_path / "m", tmp_path / "digests.json"
    folder.mkdir()
    (folder / "a.json").write_text("one")
    weights = folder / "w.safetensors"
    weights.write_text("two")
    files = hashing.model_files(folder)
    first = hashing.sha256_folder(files, cache)
    assert hashing.sha256_folder(files, cache) == first
    # Same size and time, other bytes: trusted, which shows that the file was not read.
    stamp = weights.stat()
    weights.write_text("owt")
    os.utime(weights, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert hashing.sha256_folder(files, cache) == first
    # A new time: read, and another hash.
    os.utime(weights, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 1))
    second = hashing.sha256_folder(files, cache)
    assert second != first
    assert second == hashing.sha256_folder(files, tmp_path / "other_cache.json")
