from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import DataError
from evaluation.files.json_rows import number_or_missing, read_rows

OBJECTS = st.lists(
    st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=9)), min_size=1
)


@given(rows=OBJECTS, form=st.sampled_from(["lines", "list"]), zipped=st.booleans())
def test_what_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[dict[str, object]],
    form: str,
    zipped: bool,
) -> None:
    path = tmp_path_factory.mktemp("rows") / ("rows.json.gz" if zipped else "rows.json")
    text = json.dumps(rows) if form == "list" else "\n".join(map(json.dumps, rows))
    path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    assert list(read_rows(path)) == list(enumerate(rows, start=1))


def test_empty_lines_count_as_lines_and_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\r\n{"a": "\xe2\x80\xa8"}')
    assert list(read_rows(path)) == [(1, {"a": 1}), (3, {"a": "\u2028"})]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ": no rows in this file"),
        (b"[]", ": no rows in this file"),
        (b'{"a": 1}\n{"a": ', ":2: not valid JSON: Expecting value at column 7"),
        (b"[1]", ":1: expected a JSON object, found int"),
        (b'{"a": 1}\n"b"', ":2: expected a JSON object, found str"),
        (b'[{"a": 1},\n{]', ":2: not valid JSON"),
        (b'{"a": 1}\n{"a": "\xff"}', ":2: not UTF-8 at byte 16"),
        (b'{"a": ' + b"9" * 5000 + b"}", ":1: not readable: Exceeds the limit"),
    ],
)
def test_damage_is_named_by_its_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        list(read_rows(path))
    assert str(error.value).startswith(f"{path}{message}")


@pytest.mark.parametrize("content", [b"plain", gzip.compress(b'{"a": 1}', mtime=0)[:-4], b""])
def test_a_damaged_gzip_file_is_no_traceback(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(content)
    with pytest.raises(DataError):
        list(read_rows(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.jsonl: no such file"):
        list(read_rows(tmp_path / "none.jsonl"))


def test_null_is_missing_and_absence_is_an_error() -> None:
    path = Path("f.jsonl")
    assert number_or_missing(path, 1, {"score": None}, "score") is None
    assert number_or_missing(path, 1, {"score": 3}, "score") == 3.0
    with pytest.raises(DataError, match=r"f.jsonl:1: score is absent, expected a finite number"):
        number_or_missing(path, 1, {}, "score")
