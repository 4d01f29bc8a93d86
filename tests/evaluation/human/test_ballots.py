from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import DataError, StorageError
from evaluation.human.ballots import Ballot, BallotBox, read_ballots

NOW = "2026-11-24T15:00:00Z"


def ballot(item: str = "p0", answer: str = "A", annotator: str = "annotator-1") -> Ballot:
    return Ballot(annotator, item, answer, "0,1", "", 2.5, NOW)


def test_a_ballot_can_be_read_back_as_soon_as_it_is_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "votes.sqlite"
    with BallotBox(path) as box:
        cast = box.cast(ballot()).result(timeout=10)
        assert read_ballots(path) == [cast.ballot] == [replace(ballot(), number=1)]


def test_a_second_ballot_on_an_item_changes_nothing(tmp_path: Path) -> None:
    with BallotBox(tmp_path / "votes.sqlite") as box:
        first = box.cast(ballot(answer="A")).result(timeout=10)
        again = box.cast(ballot(answer="B")).result(timeout=10)
        assert (first.repeated, again.repeated) == (False, True)
        assert again.ballot == first.ballot
        assert [b.answer for b in box.of("annotator-1").values()] == ["A"]
        # The same item of another annotator is another ballot.
        assert not box.cast(ballot(annotator="annotator-2")).result(timeout=10).repeated


def test_undoing_keeps_what_was_said_and_makes_room_for_another(tmp_path: Path) -> None:
    path = tmp_path / "votes.sqlite"
    with BallotBox(path) as box:
        box.cast(ballot(answer="A")).result(timeout=10)
        undone = box.undo("annotator-1", 1, "later").result(timeout=10)
        assert undone == replace(ballot(), number=1, undone_at="later")
        assert box.undo("annotator-1", 1, "later still").result(timeout=10) is None
        assert box.of("annotator-1") == {}
        box.cast(ballot(answer="B")).result(timeout=10)
    assert [b.answer for b in read_ballots(path)] == ["B"]
    history = [(b.answer, b.undone_at) for b in read_ballots(path, undone=True)]
    assert history == [("A", "later"), ("B", None)]


def test_nobody_undoes_another_annotators_ballot(tmp_path: Path) -> None:
    with BallotBox(tmp_path / "votes.sqlite") as box:
        box.cast(ballot()).result(timeout=10)
        assert box.undo("annotator-2", 1, NOW).result(timeout=10) is None
        assert list(box.of("annotator-1")) == ["p0"]


def test_ballots_from_many_threads_are_all_kept_once(tmp_path: Path) -> None:
    path = tmp_path / "votes.sqlite"
    with BallotBox(path) as box, ThreadPoolExecutor(16) as threads:
        # Each of 100 items twice: one of the two is a repetition.
        cast = list(threads.map(lambda at: box.cast(ballot(f"p{at % 100}")).result(30), range(200)))
    assert sum(found.repeated for found in cast) == 100
    assert sorted(b.item for b in read_ballots(path)) == sorted(f"p{at}" for at in range(100))


def test_what_waits_when_the_box_closes_is_still_written(tmp_path: Path) -> None:
    path = tmp_path / "votes.sqlite"
    with BallotBox(path) as box:
        waiting = [box.cast(ballot(f"p{at}")) for at in range(600)]  # more than one commit takes
    assert all(found.done() for found in waiting)
    assert len(read_ballots(path)) == 600


def test_a_commit_that_fails_keeps_nothing_says_so_and_the_next_one_works(tmp_path: Path) -> None:
    path = tmp_path / "votes.sqlite"
    with BallotBox(path) as box, closing(sqlite3.connect(path)) as other:
        other.execute("ALTER TABLE ballots RENAME TO hidden")
        with pytest.raises(StorageError, match="nothing of this was kept, try again"):
            box.cast(ballot()).result(timeout=10)
        other.execute("ALTER TABLE hidden RENAME TO ballots")
        assert not box.cast(ballot()).result(timeout=10).repeated


def test_commits_wait_for_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "votes.sqlite"
    with BallotBox(path) as box:
        found = box._submit(lambda database: database.execute("PRAGMA synchronous").fetchone())
        assert found.result(timeout=10) == (2,)  # FULL
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_file_that_is_none_is_said_and_no_file_means_no_ballots(tmp_path: Path) -> None:
    path = tmp_path / "votes.sqlite"
    assert read_ballots(path) == []
    path.write_text("not a database, and longer than the hundred bytes of SQLite's header" * 20)
    with pytest.raises(DataError, match="not a database of ballots"):
        read_ballots(path)
    with pytest.raises(DataError, match="not a database of ballots"), BallotBox(path):
        pass
