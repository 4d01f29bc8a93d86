from __future__ import annotations

from pathlib import Path

from benchmarks.study_load import lost, make_study
from evaluation.human.study import assignment, read_study
from evaluation.human.vote_store import Submission, VoteStore


def test_a_vote_that_is_missing_or_another_than_was_given_is_lost(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "load", annotators=1, items=4)
    shown = assignment(read_study(folder), "annotator-1")
    left = {at.place: "AB"[at.order[0]] for at in shown}
    right = {at.place: "AB"[at.order[1]] for at in shown}
    with VoteStore(folder.database) as store:
        for place, answer in ((1, left[1]), (2, right[2]), (3, "tie")):
            at = shown[place - 1]
            submission = Submission("annotator-1", at.item.item, answer, "", "", 1.0, "")
            store.save(submission).result(timeout=10)
    given = {1: "left", 2: "left", 3: "tie", 4: "right"}  # 2 was kept as another; 4 is missing
    assert lost(folder, {"annotator-1": given}) == 2
    assert lost(folder, {"annotator-1": {1: "left", 2: "right", 3: "tie"}}) == 0
