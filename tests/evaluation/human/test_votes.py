from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.errors import ConfigError
from evaluation.human.prepare import StudySize, prepare_ranking
from evaluation.human.vote_store import Submission, VoteStore
from evaluation.human.votes import Vote, export_votes, read_votes
from tests.evaluation.human.studies import comparison, ranked_run


def test_votes_say_whose_answer_was_better_and_where_it_stood(tmp_path: Path) -> None:
    folder = comparison(tmp_path / "run")
    with VoteStore(folder.database) as store:
        for item, answer, shown in (("p0", "A", "0,1"), ("p1", "A", "1,0"), ("p2", "tie", "1,0")):
            said = Submission(
                "annotator-2", item, answer, shown, "why", 3.5, "2026-11-24T15:00:00Z"
            )
            store.save(said).result(timeout=10)
        store.undo("annotator-2", 2, "2026-11-24T15:01:00Z").result(timeout=10)
    when = "2026-11-24T15:00:00Z"
    expected = [  # the vote on p1 was undone
        Vote("p0", "Question 0?", "annotator-2", "A", "A", "why", 3.5, when),
        Vote("p2", "Question 2?", "annotator-2", "tie", "B", "why", 3.5, when),
    ]
    assert read_votes(folder.path) == expected
    assert [vote.key for vote in expected] == ["p0/annotator-2", "p2/annotator-2"]
    rows = [json.loads(line) for line in export_votes(folder).read_text().splitlines()]
    assert rows[0] == {
        "item": "p0",
        "prompt": "Question 0?",
        "annotator": "annotator-2",
        "choice": "A",
        "left": "A",
        "comment": "why",
        "seconds": 3.5,
        "voted_at": when,
    }
    assert len(rows) == 2


def test_a_study_of_rankings_has_no_votes(tmp_path: Path) -> None:
    run = ranked_run(tmp_path / "run", {"p0": ["one", "two"]})
    folder = prepare_ranking(run, 2, StudySize(1, 1))
    with pytest.raises(ConfigError, match="a study of rankings has no votes"):
        read_votes(folder.path)
