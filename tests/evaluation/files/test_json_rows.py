from __future__ import annotations

import gzip
import io
import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import DataError
from evaluation.__main__ import main
from evaluation.files.json_rows import number_or_missing, read_rows
from tests import loop

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
        (b'{"a": 1}\n{"a": ', ":2: not valid JSON: EOF while parsing a value at column 6"),
        (b"[1]", ":1: expected a JSON object, found int"),
        (b'{"a": 1}\n"b"', ":2: expected a JSON object, found str"),
        (b'[{"a": 1},\n{]', ":2: not valid JSON"),
        (b'{"a": 1}\n{"a": "\xff"}', ":2: not UTF-8 at byte 7"),
        (b'{"a": ' + b"9" * 5000 + b"}", ":1: not valid JSON: number out of range"),
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


@pytest.mark.parametrize(
    ("command", "file", "words"),
    [
        ("mt-bench --judgments", "mt_bench_gpt-4_pair.jsonl", "FastChat's pairwise judgments"),
        ("compare --b x --a", "mt_bench_gpt-4_pair.jsonl", "show_result.py --mode pairwise-all"),
        ("alpaca-eval --annotations", "lm_eval_samples.jsonl", "srlm-eval compare reads them"),
        ("parse-judgments --file", "mt_bench_own_questions_single.jsonl", "srlm-eval mt-bench"),
        ("agreement --ranked", "alpaca_eight_annotations.json", "srlm-eval alpaca-eval"),
        ("mt-bench --judgments", "mt_bench_own_questions_single.jsonl", "--questions FILE"),
    ],
)
def test_other_programs_files_are_refused_by_name_with_what_reads_them(
    shared: Path, command: str, file: str, words: str
) -> None:
    done = loop.main("evaluation", *command.split(), shared / "cases" / file)
    assert done.returncode == 2
    assert f"{file}:1: " in done.stderr
    assert words in done.stderr


@pytest.mark.parametrize("content", [b"[" * 9999, b'{"a": ' * 9999, b'{"instruction": "\\ud83d"}'])
@pytest.mark.parametrize(
    "command",
    [
        "alpaca-eval --annotations FILE",
        "mt-bench --judgments FILE",
        "mt-bench --judgments FILE --questions FILE",
        "agreement --ranked FILE",
        "compare --a FILE --b FILE",
        "parse-judgments --file FILE",
        "ifeval --responses FILE --data FILE",
        "llmbar --file FILE --model x",
        "import --to OUT --annotations FILE",
        "import --to OUT --judgments FILE",
        "cassette --file OUT --import FILE",
    ],
)
def test_no_command_ends_in_a_traceback_on_hostile_json(
    tmp_path: Path, command: str, content: bytes
) -> None:
    file = tmp_path / "hostile.jsonl"
    file.write_bytes(content)
    places = {"FILE": str(file), "OUT": str(tmp_path / "out")}
    done = loop.main("evaluation", *(places.get(word, word) for word in command.split()))
    assert done.returncode == 2
    assert "hostile.jsonl:1: " in done.stderr


def test_stdout_that_is_not_utf8_gets_valid_json_and_codes_instead_of_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "scores.jsonl"
    file.write_text('{"item": "1", "score": 1, "metric": "précision – é"}\n')
    found = {}
    for option in ("--json", ""):
        raw = io.BytesIO()
        monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="latin-1"))
        words = ["srlm-eval", "compare", "--a", str(file), "--b", str(file), option]
        monkeypatch.setattr("sys.argv", [word for word in words if word])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        sys.stdout.flush()
        found[option] = raw.getvalue().decode("latin-1")
    assert "précision – é" in json.loads(found["--json"])["metrics"]
    assert "précision \\u2013 é" in found[""]


def test_null_is_missing_and_absence_is_an_error() -> None:
    path = Path("f.jsonl")
    assert number_or_missing(path, 1, {"score": None}, "score") is None
    assert number_or_missing(path, 1, {"score": 3}, "score") == 3.0
    with pytest.raises(DataError, match=r"f.jsonl:1: score is absent, expected a finite number"):
        number_or_missing(path, 1, {}, "score")
