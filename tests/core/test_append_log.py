import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from core.append_log import AppendLog
from core.errors import DataError, StorageError
from core.stages import project_root


def append(path: Path, *lines: str) -> None:
    with AppendLog(path) as log:
        for line in lines:
            log.append(line)


def test_a_new_log_is_made_with_its_folders_and_begins_empty(tmp_path: Path) -> None:
    path = tmp_path / "iter2" / "log.jsonl"
    with AppendLog(path) as log:
        assert log.lines == []
        log.append('{"a": "é"}')
    assert path.read_bytes() == '{"a": "é"}\n'.encode()


def test_reopening_reads_what_is_there_in_order_and_appends_after_it(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    append(path, '{"n": 1}', '{"n": 2}')
    with AppendLog(path) as log:
        assert log.lines == [{"n": 1}, {"n": 2}]
        log.append('{"n": 3}')
    assert path.read_text() == '{"n": 1}\n{"n": 2}\n{"n": 3}\n'


@pytest.mark.parametrize("torn", [b"{", b'{"n": 3', b'{"n": 3}', b'{"text": "\xc3'])
def test_a_torn_last_line_is_cut_before_anything_is_appended(tmp_path: Path, torn: bytes) -> None:
    # A line is whole only with its line break: '{"n": 3}' without one is torn as well.
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"n": 1}\n{"n": 2}\n' + torn)
    with AppendLog(path) as log:
        assert log.lines == [{"n": 1}, {"n": 2}]
        assert path.read_bytes() == b'{"n": 1}\n{"n": 2}\n'
        log.append('{"n": 4}')
    assert path.read_bytes() == b'{"n": 1}\n{"n": 2}\n{"n": 4}\n'


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 200_000])
def test_a_torn_line_of_any_length_is_cut_to_the_last_line_break(tmp_path: Path, size: int) -> None:
    # The end is looked for 65,536 bytes at a time.
    path = tmp_path / "log.jsonl"
    for whole in (b"", b'{"n": 1}\n', b'{"n": 1}\n{"n": 2}\n'):
        path.write_bytes(whole + b"x" * size)
        with AppendLog(path, read=False) as log:
            assert path.read_bytes() == whole
            log.append('{"n": 3}')
        assert path.read_bytes() == whole + b'{"n": 3}\n'


def test_objects_come_with_the_byte_behind_them_and_can_be_read_again(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    append(path, '{"a": "é"}', '{"n": 2}')
    with AppendLog(path, read=False) as log:
        assert log.lines == []
        # "é" has two bytes: 10 characters, 11 bytes and a line break.
        assert list(log.objects()) == [(12, {"a": "é"}), (21, {"n": 2})]
        assert log.append('{"n": 3}') == 30
        assert list(log.objects())[2] == (30, {"n": 3})
        assert log.read(12, 21) == b'{"n": 2}\n'
        assert log.read(21, 1000) == b'{"n": 3}\n'


def test_objects_stop_where_the_log_ends_not_where_another_writer_is(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    append(path, '{"n": 1}')
    with AppendLog(path, read=False) as log:
        with path.open("ab") as file:
            file.write(b'{"n": 2')
        assert [value for _, value in log.objects()] == [{"n": 1}]


def test_numbers_come_back_as_they_were(tmp_path: Path) -> None:
    values = [0.1, 1e-320, -0.0, 1 / 3, 123456789012345678901234567890, 4, 4.0, True, None]
    path = tmp_path / "log.jsonl"
    append(path, json.dumps({"values": values}))
    with AppendLog(path) as log:
        assert list(map(repr, log.lines[0]["values"])) == list(map(repr, values))


def test_text_with_line_breaks_of_other_alphabets_stays_one_line(tmp_path: Path) -> None:
    # U+2028 and U+0085 end a line for str.splitlines, not for a reader of bytes.
    path = tmp_path / "log.jsonl"
    append(path, '{"text": "a\u2028b\u0085c"}', '{"n": 2}')
    with AppendLog(path) as log:
        assert log.lines == [{"text": "a\u2028b\u0085c"}, {"n": 2}]


@pytest.mark.parametrize("line", ["not json", "", "[]", '[["a", 1]]', '""', "3", "null"])
def test_a_whole_line_that_is_not_an_object_is_damage_not_a_kill(tmp_path: Path, line: str) -> None:
    path = tmp_path / "log.jsonl"
    text = f'{{"n": 1}}\n{line}\n{{"n": 3}}\n'
    path.write_text(text)
    with pytest.raises(DataError) as caught, AppendLog(path):
        pytest.fail("a damaged log was opened")
    assert str(caught.value).startswith(f"{path}:2: damaged line")
    assert path.read_text() == text  # left for people to look at


def test_appended_lines_outlive_a_kill_9_of_the_writer(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    writer = """
import os, signal, sys
from pathlib import Path
from core.append_log import AppendLog
with AppendLog(Path(sys.argv[1])) as log:
    for n in range(3):
        log.append('{"n": %d}' % n)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", writer, path], cwd=project_root(), check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == '{"n": 0}\n{"n": 1}\n{"n": 2}\n'


def test_a_full_disk_is_a_storage_error_naming_the_log_also_after_closing(tmp_path: Path) -> None:
    # Closing tries to write the refused bytes again; that error must not hide the named one.
    path = tmp_path / "log.jsonl"
    log = AppendLog(path)
    named = []

    def write_to_a_full_disk() -> None:
        with log:
            log._file.close()
            log._file = Path("/dev/full").open("r+b")  # noqa: SIM115 - closed by the log
            with pytest.raises(StorageError) as refused:
                log.append('{"n": 1}')
            named.append(str(refused.value))

    with pytest.raises(StorageError) as caught:
        write_to_a_full_disk()
    named.append(str(caught.value))
    assert len(named) == 2  # on appending and on closing
    for message in named:
        assert message.startswith(f"{path}: No space left on device")


def test_an_error_inside_the_block_keeps_what_was_appended(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"

    def crash_after_one_row() -> None:
        with AppendLog(path) as log:
            log.append('{"n": 1}')
            raise RuntimeError("model crashed")

    with pytest.raises(RuntimeError, match="model crashed"):
        crash_after_one_row()
    assert path.read_text() == '{"n": 1}\n'
