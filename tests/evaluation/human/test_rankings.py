from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.errors import ConfigError
from core.sources.reader import read_threads
from core.sources.source import Source
from core.sources.thread import ranked_replies
from evaluation.files.ranked_files import report
from evaluation.human.prepare import StudySize, prepare_ranking
from evaluation.human.rankings import export_rankings, middle_ranks, read_rankings
from evaluation.human.study import StudyFolder
from evaluation.human.vote_store import Submission, VoteStore
from tests.evaluation.human.studies import comparison, ranked_run

WHEN = "2026-11-24T15:00:00Z"


@pytest.mark.parametrize(
    ("ranks", "expected"),
    [
        ([1, 2, 3], [1.0, 2.0, 3.0]),
        ([1, 1, 3], [1.5, 1.5, 3.0]),
        ([1, 1, 2], [1.5, 1.5, 3.0]),  # other numbers, the same order
        ([2, 2, 2], [2.0, 2.0, 2.0]),  # 1, 2 and 3 shared by three
        ([5], [1.0]),
        ([], []),
    ],
)
def test_ties_share_the_middle_of_their_places(ranks: list[int], expected: list[float]) -> None:
    assert middle_ranks(ranks) == expected


def ranked(tmp_path: Path, *answers: str, scores: dict[str, float] | None = None) -> StudyFolder:
    """Make a study of three replies to p0 and one submission per annotator."""
    run = ranked_run(tmp_path / "run", {"p0": ["x", "y", "z"], "p1": ["v", "w"]}, scores)
    folder = prepare_ranking(run, 2, StudySize(2, 3))
    with VoteStore(folder.database) as store:
        for at, answer in enumerate(answers, start=1):
            store.save(Submission(f"annotator-{at}", "p0", answer, "0,1,2", "", 1.0, WHEN)).result(
                10
            )
    return folder


def rows(folder: StudyFolder) -> list[dict[str, object]]:
    return [json.loads(line) for line in export_rankings(folder).read_text().splitlines()]


def test_annotators_ranks_are_averaged_and_equal_means_share_a_rank(tmp_path: Path) -> None:
    # x: 1, 1.5, 2 → 1.5; y: 2, 1.5, 1 → 1.5; z: 3, 3, 3 → 3. So x and y are rank 0, z is rank 1.
    folder = ranked(tmp_path, "1,2,3", "1,1,2", "2,1,3", scores={"p0/c0": 4.0, "p0/c2": 1.0})
    assert rows(folder) == [
        {"question": "Task p0", "answer": text, "rank": rank, "score": score,
         "candidate": f"p0/c{at}", "mean_rank": mean, "annotators": 3}
        for at, (text, rank, mean, score) in enumerate(
            [("x", 0, 1.5, 4.0), ("y", 0, 1.5, None), ("z", 1, 3.0, 1.0)]
        )
    ]  # fmt: skip


def test_the_best_comes_first_and_unranked_items_are_not_there(tmp_path: Path) -> None:
    folder = ranked(tmp_path, "3,1,2")
    assert [(row["answer"], row["rank"]) for row in rows(folder)] == [("y", 0), ("z", 1), ("x", 2)]
    assert [r.ranks for r in read_rankings(folder.path)] == [(3, 1, 2)]


def test_the_file_is_a_source_of_eft_data(tmp_path: Path) -> None:
    path = export_rankings(ranked(tmp_path, "3,1,2"))
    (thread,) = read_threads(Source(str(path), "eft"), language="en")
    assert thread.prompt == "Task p0"
    assert [(reply.text, reply.rank) for reply in ranked_replies(thread)] == [
        ("y", 0),
        ("z", 1),
        ("x", 2),
    ]


def test_the_file_tells_how_well_the_runs_own_judge_agrees(tmp_path: Path) -> None:
    scores = {"p0/c0": 1.0, "p0/c1": 5.0, "p0/c2": 3.0}  # y > z > x, as the annotator says
    found = report(export_rankings(ranked(tmp_path, "3,1,2", scores=scores)))
    assert found["n_prompts"] == 1
    assert found["pairwise_accuracy"]["ties_excluded"] == 100.0


def test_a_comparison_has_no_rankings(tmp_path: Path) -> None:
    folder = comparison(tmp_path / "run")
    with pytest.raises(ConfigError, match="a comparison has no rankings"):
        read_rankings(folder.path)
