from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import DataError, StorageError
from evaluation.human.vote_store import Submission, VoteStore, read_submissions

NOW = "2026-11-24T15:00:00Z"


def submission(item: str = "p0", answer: str = "A", annotator: str = "annotator-1") -> Submission:
    return Submission(annotator, item, answer, "0,1", "", 2.5, NOW)


def test_a_submission_can_be_read_back_as_soon_as_it_is_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "votes.sqlite"
    with VoteStore(path) as store:
        cast = store.save(submission()).result(timeout=10)
        assert read_submissions(path) == [cast.submission] == [replace(submission(), number=1)]


def test_a_second_submission_on_an_item_changes_nothing(tmp_path: Path) -> None:
    with VoteStore(tmp_path / "votes.sqlite") as store:
        first = store.save(submission(answer="A")).result(timeout=10)
        again = store.save(submission(answer="B")).result(timeout=10)
        assert (first.repeated, again.repeated) == (False, True)
        assert again.submission == first.submission
        assert [b.answer for b in store.of("annotator-1").values()] == ["A"]
        # The same item of another annotator is another submission.
        assert not store.save(submission(annotator="annotator-2")).result(timeout=10).repeated


def test_undoing_keeps_what_was_said_and_makes_room_for_another(tmp_path: Path) -> None:
    path = tmp_path / "votes.sqlite"
    with VoteStore(path) as store:
        store.save(submission(answer="A")).result(timeout=10)
        undone = store.undo("annotator-1", 1, "later").result(timeout=10)
        assert undone == replace(submission(), number=1, undone_at="later")
        assert store.undo("annotator-1", 1, "later still").result(timeout=10) is None
        assert store.of("annotator-1") == {}
        store.save(submission(answer="B")).result(timeout=10)
    assert [b.answer for b in read_submissions(path)] == ["B"]
    history = [(b.answer, b.undone_at) for b in read_submissions(path, undone=True)]
    assert history == [("A", "later"), ("B", None)]


def test_nobody_undoes_another_annotators_submission(tmp_path: Path) -> None:
    with VoteStore(tmp_path / "votes.sqlite") as store:
        store.save(submission()).result(timeout=10)
        assert store.undo("annotator-2", 1, NOW).result(timeout=10) is None
        assert list(store.of("annotator-1")) == ["p0"]


def test_submissions_from_many_threads_are_all_kept_once(tmp_path: Path) -> None:
    path = tmp_path / "votes.sqlite"
    with VoteStore(path) as store, ThreadPoolExecutor(16) as threads:
        # Each of 100 items twice: one of the two is a repetition.
        cast = list(
            threads.map(lambda at: store.save(submission(f"p{at % 100}")).result(30), range(200))
        )
    assert sum(found.repeated for found in cast) == 100
    assert sorted(b.item for b in read_submissions(path)) == sorted(f"p{at}" for at in range(100))


def test_what_waits_when_the_store_closes_is_still_written(tmp_path: Path) -> None:
    path = tmp_path / "votes.sqlite"
    with VoteStore(path) as store:
        waiting = [
            store.save(submission(f"p{at}")) for at in range(600)
        ]  # more than one commit takes
    assert all(found.done() for found in waiting)
    assert len(read_submissions(path)) == 600


def test_a_commit_that_fails_keeps_nothing_says_so_and_the_next_one_works(tmp_path: Path) -> None:
    path = tmp_path / "votes.sqlite"
    with VoteStore(path) as store, closing(sqlite3.connect(path)) as other:
        other.execute("ALTER TABLE ballots RENAME TO hidden")
        with pytest.raises(StorageError, match="nothing was stored, try again"):
            store.save(submission()).result(timeout=10)
        other.execute("ALTER TABLE hidden RENAME TO ballots")
        assert not store.save(submission()).result(timeout=10).repeated


def test_commits_wait_for_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "votes.sqlite"
    with VoteStore(path) as store:
        found = store._submit(lambda database: database.execute("PRAGMA synchronous").fetchone())
        assert found.result(timeout=10) == (2,)  # FULL
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_file_that_is_none_is_said_and_no_file_means_no_submissions(tmp_path: Path) -> None:
    path = tmp_path / "votes.sqlite"
    assert read_submissions(path) == []
    path.write_text("not a database, and longer than the hundred bytes of SQLite's header" * 20)
    with pytest.raises(DataError, match="not a database of annotators"):
        read_submissions(path)
    with pytest.raises(DataError, match="not a database of annotators"), VoteStore(path):
        pass
