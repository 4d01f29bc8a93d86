from __future__ import annotations

import multiprocessing
import sqlite3
import threading
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import pytest

from core.errors import DataError, StorageError
from core.sqlite import Database

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = ("CREATE TABLE IF NOT EXISTS words (word TEXT PRIMARY KEY)",)
INSERT = "INSERT INTO words VALUES (?)"


def database(path: Path | None, **settings: bool) -> Database:
    return Database(path, "a list of words", schema=SCHEMA, version=2, **settings)


def test_rows_written_are_read_by_another_connection_before_the_first_is_closed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "folder" / "words.sqlite"
    with database(path) as words:
        assert words.change(INSERT, [("one",), ("two",)]) == 2
        with database(path, read_only=True) as other:
            assert other.rows("SELECT word FROM words ORDER BY word") == [("one",), ("two",)]
            assert other.rows("PRAGMA user_version") == [(2,)]
        assert words.rows("PRAGMA synchronous") == [(2,)]  # FULL


def test_a_transaction_that_fails_changes_nothing_and_the_next_one_works(tmp_path: Path) -> None:
    with database(tmp_path / "w.sqlite") as words:
        words.change(INSERT, [("one",)])
        with pytest.raises(DataError, match=r"w\.sqlite: .*UNIQUE constraint failed"):
            words.change(INSERT, [("two",), ("one",)])
        with suppress(KeyboardInterrupt), words.transaction() as connection:
            connection.execute(INSERT, ("three",))
            raise KeyboardInterrupt
        assert words.change(INSERT, [("four",)]) == 1
        assert words.rows("SELECT word FROM words ORDER BY word") == [("four",), ("one",)]


def test_threads_share_one_database(tmp_path: Path) -> None:
    with database(tmp_path / "w.sqlite", wal=True) as words:
        threads = [
            threading.Thread(target=words.change, args=(INSERT, [(f"{thread}",)]))
            for thread in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert words.rows("SELECT count(*) FROM words") == [(8,)]


def _insert(path: Path, first: int) -> None:
    with database(path) as words:
        for number in range(first, first + 20):
            words.change(INSERT, [(str(number),)])


def test_processes_create_and_fill_one_file_at_once_and_wait_for_each_other(tmp_path: Path) -> None:
    path = tmp_path / "w.sqlite"
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_insert, args=(path, 20 * at)) for at in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    with database(path) as words:
        assert words.rows("SELECT count(*) FROM words") == [(40,)]


def test_read_only_leaves_the_file_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "w.sqlite"
    database(path).close()
    before = path.read_bytes()
    with (
        database(path, read_only=True) as words,
        pytest.raises(StorageError, match=r"w\.sqlite: attempt to write a readonly database"),
    ):
        words.change(INSERT, [("one",)])
    assert path.read_bytes() == before


@pytest.mark.parametrize("read_only", [False, True])
def test_another_version_and_another_kind_of_file_are_refused(
    tmp_path: Path, *, read_only: bool
) -> None:
    path = tmp_path / "w.sqlite"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE words (word TEXT)")
        other.execute("PRAGMA user_version = 1")
    expected = r"w\.sqlite: damaged, or not a list of words \(expected a list of words of version 2"
    with pytest.raises(DataError, match=expected):
        database(path, read_only=read_only)
    path.write_bytes(b"text, not a database, " * 300)
    with pytest.raises(DataError, match="not a list of words"):
        database(path, read_only=read_only)


def test_a_folder_that_cannot_be_made_and_a_file_that_cannot_be_opened_are_named(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"w\.sqlite: File exists"):
        database(tmp_path / "file" / "w.sqlite")
    with pytest.raises(StorageError, match=r"w\.sqlite: unable to open"):
        database(tmp_path / "file" / "w.sqlite", read_only=True)


def test_a_mistake_in_a_query_is_no_error_of_the_disk(tmp_path: Path) -> None:
    with database(tmp_path / "w.sqlite") as words, pytest.raises(DataError, match="no such table"):
        words.rows("SELECT * FROM sentences")


def test_a_private_database_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with database(None) as words:
        words.change(INSERT, [("one",)])
        assert words.rows("SELECT word FROM words") == [("one",)]
    assert list(tmp_path.iterdir()) == []


def test_a_closed_database_is_the_callers_mistake(tmp_path: Path) -> None:
    words = database(tmp_path / "w.sqlite")
    words.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        words.rows("SELECT 1")
