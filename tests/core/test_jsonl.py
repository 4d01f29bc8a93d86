import gzip
import json
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import jsonl
from core.errors import DataError
from core.records import Candidate, Example, Judgment, LedgerRow, RankedPrompt, Reply

WriteBytes = Callable[[bytes], Path]


@pytest.fixture
def file(tmp_path: Path) -> WriteBytes:
    def write(data: bytes) -> Path:
        path = tmp_path / "seed.jsonl"
        path.write_bytes(data)
        return path

    return write


def objects(path: Path) -> list[tuple[int, dict[str, object]]]:
    return list(jsonl.read_objects(path))


def message_of(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        objects(path)
    return str(caught.value)


def test_each_object_comes_with_its_line_number_and_blank_lines_still_count(
    file: WriteBytes,
) -> None:
    path = file(b'{"a": 1}\n\n  \n{"a": 2}\r\n{"a": 3}')
    assert objects(path) == [(1, {"a": 1}), (4, {"a": 2}), (5, {"a": 3})]


def test_an_empty_file_has_no_objects(file: WriteBytes) -> None:
    assert objects(file(b"")) == []


def test_a_byte_order_mark_is_not_part_of_the_data(file: WriteBytes) -> None:
    assert objects(file(b'\xef\xbb\xbf{"a": 1}\n')) == [(1, {"a": 1})]


def test_bad_json_is_named_by_path_line_and_column(file: WriteBytes) -> None:
    # Line 2 lacks a value: the parser stops at the brace, its seventh character.
    path = file(b'{"a": 1}\n{"a": }\n')
    assert message_of(path) == f"{path}:2: not valid JSON: expected value at column 7"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b"[1, 2]", "list"),
        (b'"text"', "str"),
        (b"3", "int"),
        (b"null", "NoneType"),
        (b"[]", "list"),
        (b'[["a", 1]]', "list"),
    ],
)
def test_a_line_that_is_not_an_object_is_refused(file: WriteBytes, line: bytes, found: str) -> None:
    path = file(b"{}\n{}\n" + line + b"\n")
    assert message_of(path) == f"{path}:3: expected a JSON object, found {found}"


def test_bytes_that_are_not_utf8_are_named_by_line_and_byte(file: WriteBytes) -> None:
    # Latin-1 "é" is the single byte E9, at position 7 of line 2.
    path = file(b'{"a": 1}\n{"a": "\xe9"}\n')
    assert message_of(path) == f"{path}:2: not UTF-8 at byte 7"


def test_another_unicode_encoding_is_refused_rather_than_guessed(file: WriteBytes) -> None:
    path = file('{"a": 1}'.encode("utf-16"))
    assert message_of(path).startswith(f"{path}:1: not UTF-8")


def test_half_a_surrogate_pair_is_refused_where_it_is_read_not_where_it_is_written(
    file: WriteBytes,
) -> None:
    # Legal JSON, but no UTF-8 exists for it: a later stage could not write the row down.
    for half in (b"\\ud83d", b"\\uD83D", b"\\ude00", b"\\ud83d\\u0041"):
        path = file(b'{"a": "ok"}\n{"a": "cut emoji ' + half + b'"}\n')
        assert message_of(path).startswith(f"{path}:2: half a character (a surrogate without")
    assert objects(file(b'{"a": "\\uD83D\\ude00"}')) == [(1, {"a": "\N{GRINNING FACE}"})]


@pytest.mark.parametrize("nested", [b'{"a": ' * 5000, b"[" * 100_000, b'{"a": ' + b"[" * 5000])
def test_nesting_without_end_is_an_error_of_its_line_not_a_crash(
    file: WriteBytes, nested: bytes
) -> None:
    assert ":1: not valid JSON: nested too deeply at column" in message_of(file(nested))


def test_a_json_list_is_read_item_by_item_and_gzip_by_content_whatever_the_name(
    file: WriteBytes,
) -> None:
    text = b' \n[{"a": 1},\n{"a": 2}]'
    assert (
        objects(file(text)) == objects(file(gzip.compress(text))) == [(1, {"a": 1}), (2, {"a": 2})]
    )
    assert objects(file(gzip.compress(b'{"a": 1}\n\n{"a": 2}'))) == [(1, {"a": 1}), (3, {"a": 2})]


def test_a_gzip_bomb_is_refused_before_it_fills_the_memory(
    file: WriteBytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 20 MB of spaces in 20 kB: 100 times its size may be read, 2 MB.
    monkeypatch.setattr(jsonl, "_PLAUSIBLE_BYTES", 10**6)
    path = file(gzip.compress(b" " * 10**6) * 20)
    tracemalloc.start()
    assert "unpacks to more than" in message_of(path)
    assert "unpack it first" in message_of(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 100 * path.stat().st_size


def test_a_small_file_may_unpack_to_much(file: WriteBytes) -> None:
    path = file(gzip.compress(b'{"a": "' + b" " * 10**7 + b'"}'))
    assert len(objects(path)) == 1


def test_a_cut_gzip_file_is_named(file: WriteBytes) -> None:
    assert "not a complete gzip file" in message_of(file(gzip.compress(b'{"a": 1}\n' * 99)[:-9]))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.jsonl"
    assert message_of(path) == f"{path}: no such file; check the path"


def test_a_field_of_the_wrong_type_is_named_by_path_line_and_field(file: WriteBytes) -> None:
    good = '{"key": "k", "prompt_key": "p", "draw": 0, "text": "t", "tokens": 5, "finish": "stop"}'
    bad = good.replace("5", '"five"')
    path = file(f"{good}\n{bad}\n".encode())
    with pytest.raises(DataError) as caught:
        jsonl.read_records(path, Candidate)
    message = str(caught.value)
    assert message.startswith(f"{path}:2: tokens: ")
    assert message.endswith("(expected a Candidate)")


def test_a_field_deep_inside_a_row_is_named_by_its_whole_path(file: WriteBytes) -> None:
    path = file(b'{"key": "k", "prompt": "p", "replies": [{"key": "r", "text": "t", "rank": "a"}]}')
    with pytest.raises(DataError, match=r"seed\.jsonl:1: replies\.0\.rank: .*RankedPrompt"):
        jsonl.read_records(path, RankedPrompt)


def test_a_missing_field_and_an_unknown_one_are_named(file: WriteBytes) -> None:
    path = file(b'{"key": "k", "prompt": "p"}\n')
    with pytest.raises(DataError, match=r"seed\.jsonl:1: response: Field required"):
        jsonl.read_records(path, Example)
    path = file(b'{"key": "k", "prompt": "p", "response": "r", "answer": "r"}\n')
    with pytest.raises(DataError, match=r"seed\.jsonl:1: answer: unknown field"):
        jsonl.read_records(path, Example)


def test_records_come_back_with_their_nested_types(tmp_path: Path) -> None:
    row = RankedPrompt("k", "p", (Reply("k/r0", "t", 0, 4.5, "why"), Reply("k/r1", "u", 1)), "eval")
    path = tmp_path / "ranked.jsonl"
    jsonl.write_lines(path, [jsonl.encode(row)])
    assert jsonl.read_records(path, RankedPrompt) == [row]


def test_text_is_kept_readable_and_on_one_line() -> None:
    line = jsonl.encode(Example("k", "naïve\nquestion", "réponse"))
    assert line == (
        '{"key": "k", "prompt": "naïve\\nquestion", "response": "réponse", "ended": true}'
    )


@given(
    text=st.text(),
    score=st.none() | st.floats(min_value=0, max_value=5),
    unparsed=st.none() | st.text(),
)
def test_any_judgment_survives_encoding_with_the_same_bytes(
    text: str, score: float | None, unparsed: str | None
) -> None:
    row = Judgment("k/j0", "k", "p", 0, text, score, unparsed, 7)
    line = jsonl.encode(row)
    assert "\n" not in line
    assert "\r" not in line
    again = jsonl.decode(Judgment, json.loads(line), Path("x"), 1)
    assert again == row
    assert jsonl.encode(again) == line


def test_a_field_that_came_after_a_release_is_written_only_if_it_is_set() -> None:
    # The bytes of ledgers, and so the keys of models, stay what they were.
    row = LedgerRow("p", "Hi", "tie", (1.0, 1.0), (3, 3))
    assert "confidence" not in jsonl.encode(row)
    assert json.loads(jsonl.encode(row))["chosen_ended"] is True
    sure = replace(row, confidence=1.0)
    assert json.loads(jsonl.encode(sure))["confidence"] == 1.0
    for one in (row, sure):
        assert jsonl.decode(LedgerRow, json.loads(jsonl.encode(one)), Path("x"), 1) == one
