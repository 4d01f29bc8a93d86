from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from core.errors import ConfigError, MissingArtifact
from core.hashing import sha256_file
from core.records import ItemScore, Score
from core.stages import Stage, evaluation_ref
from core.store import Manifest, Store
from evaluation.human.prepare import StudySize, prepare_ranking
from evaluation.human.results import read_results, refresh, write_results
from evaluation.human.study import StudyFolder
from evaluation.human.votes import export_votes
from tests.evaluation.human.studies import comparison, ranked_run, write_answers
from tests.evaluation.human.voting import cast_votes, judge_verdicts, judged_study

WHOSE = "human/M3-sft"
SAID = {"p0": "AAB", "p1": "ABt", "p2": "BBB", "p3": "ttt"}
JUDGE = {"p0": "A", "p1": "A", "p2": "AB", "p3": "t"}


def by_key(scores: list[Score]) -> dict[str, Score]:
    return {score.key: score for score in scores}


def manifest(run: Path, stage: Stage) -> Manifest:
    return Store(run).manifest(evaluation_ref(WHOSE, stage))


def test_votes_become_scores_of_the_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    found = by_key(write_results(judged_study(run, SAID, JUDGE)))

    # One win, one loss, one voted tie and one three-way split of four.
    assert [found[key].value for key in ("win", "tie", "lose")] == [25.0, 50.0, 25.0]
    # The judge says A, A, tie (its orders disagree), tie: equal on p0 and p3.
    assert found["judge/agreement"].value == 0.5
    assert by_key(Store(run).read(evaluation_ref(WHOSE, Stage.SCORES))) == found


def test_an_item_s_row_has_its_majority_every_vote_and_the_answers_shown(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_results(judged_study(run, {"p0": "AB-", "p1": "ABt", "p2": "AAB"}, {}))
    rows: list[ItemScore] = Store(run).read(evaluation_ref(WHOSE, Stage.ITEMS))
    waiting, split, won = rows

    assert [row.metrics for row in rows] == [{}, {"net": 0.0}, {"net": 100.0}]
    assert (waiting.detail["majority"], waiting.detail["wanted"]) == (None, 3)
    assert (split.detail["majority"], split.detail["split"]) == ("tie", True)
    assert (won.detail["majority"], won.detail["split"]) == ("A", False)
    assert won.item == "Question 2?"
    assert won.detail["answers"] == ["the third says Question 2?", "the baseline says Question 2?"]
    assert [vote["comment"] for vote in won.detail["votes"]] == ["p2 by 1", "p2 by 2", "p2 by 3"]


def test_the_manifest_names_the_votes_and_the_study_by_their_hashes(tmp_path: Path) -> None:
    run = tmp_path / "run"
    folder = judged_study(run, SAID, {})
    write_results(folder)
    made = manifest(run, Stage.ITEMS)

    assert made.key.inputs == {
        "study": sha256_file(folder.info),
        "votes": sha256_file(export_votes(folder)),
    }
    assert made.counts == {"votes": 12, "complete": 4}
    assert made.facts["annotators"] == ["annotator-1", "annotator-2", "annotator-3"]
    assert made.engine is None


def test_scores_are_made_from_the_items_the_verdicts_and_the_answers(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_results(judged_study(run, SAID, JUDGE))

    assert sorted(manifest(run, Stage.SCORES).key.inputs) == [
        "eval/M3/head_to_head/answers",
        "eval/head_to_head/M3-sft/verdicts",
        "eval/human/M3-sft/items",
        "eval/sft/head_to_head/answers",
        "scoring",
    ]


def test_nobody_is_asked_and_nothing_is_paid(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_results(judged_study(run, SAID, JUDGE))

    assert not Store(run).paths.cassette.exists()
    assert not Store(run).paths.calls.exists()


def test_the_same_votes_are_not_counted_twice_and_new_ones_replace_the_results(
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    folder = judged_study(run, {"p0": "AA-", "p1": "BBB"}, {})
    assert by_key(write_results(folder))["win"].missing == 1
    before = Store(run).paths.manifest(evaluation_ref(WHOSE, Stage.SCORES)).read_bytes()
    write_results(folder)
    assert Store(run).paths.manifest(evaluation_ref(WHOSE, Stage.SCORES)).read_bytes() == before

    cast_votes(folder, {"p0": "--t"})
    now = by_key(write_results(folder))
    assert (now["win"].value, now["win"].n, now["win"].missing) == (50.0, 2, 0)


def test_a_vote_that_was_undone_does_not_count(tmp_path: Path) -> None:
    folder = judged_study(tmp_path / "run", {"p0": "AAB"}, {})
    with closing(sqlite3.connect(folder.database)) as database:
        database.execute("UPDATE ballots SET undone_at = 'then' WHERE annotator = 'annotator-2'")
        database.commit()

    found = by_key(write_results(folder))
    assert (found["win"].value, found["win"].missing) == (None, 1)


def test_somebody_who_did_not_finish_can_be_left_out_and_stays_so(tmp_path: Path) -> None:
    run = tmp_path / "run"
    folder = judged_study(run, {"p0": "AA-", "p1": "AB-", "p2": "BBA"}, {})
    found = by_key(write_results(folder, ["annotator-3"]))

    # By the two others: A, no majority, B.
    assert [found[key].value for key in ("win", "tie", "lose")] == [pytest.approx(100 / 3)] * 3
    assert found["tie"].detail == {"voted": 0, "no_majority": 1, "three_way": 0}
    assert [done.path for done in refresh(run)] == [folder.path]
    assert manifest(run, Stage.ITEMS).facts["left_out"] == ["annotator-3"]


def test_a_name_that_nobody_has_is_refused(tmp_path: Path) -> None:
    folder = judged_study(tmp_path / "run", {"p0": "AA"}, {})
    with pytest.raises(ConfigError, match="the study's annotators are annotator-1, annotator-2"):
        read_results(folder, ["annotator-9"])
    with pytest.raises(ConfigError, match="no annotator is left"):
        read_results(folder, ["annotator-1", "annotator-2"])


def test_verdicts_that_come_later_are_taken_up(tmp_path: Path) -> None:
    run = tmp_path / "run"
    folder = judged_study(run, SAID, {})
    first = by_key(write_results(folder))["judge/agreement"]
    assert first.reason == "no head-to-head verdicts on M3 and sft in this run"

    judge_verdicts(run, "M3", "sft", JUDGE)
    refresh(run)
    rows = Store(run).read(evaluation_ref(WHOSE, Stage.SCORES))
    assert by_key(rows)["judge/agreement"].value == 0.5


def test_verdicts_under_the_matchup_s_other_name_are_seen_from_the_study_s_side(
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    folder = judged_study(run, {"p0": "AAA", "p1": "BBB"}, {})
    judge_verdicts(run, "sft", "M3", {"p0": "B", "p1": "A"})  # A is sft there

    assert by_key(write_results(folder))["judge/agreement"].value == 1.0


def test_a_verdict_on_other_answers_than_people_saw_is_not_compared(tmp_path: Path) -> None:
    run = tmp_path / "run"
    folder = judged_study(run, {"p0": "AAA", "p1": "BBB"}, {"p0": "A", "p1": "B"})
    ref = evaluation_ref("M3/head_to_head", Stage.ANSWERS)
    Store(run).remove([ref])
    again = {"p0": ("Question 0?", "the third says Question 0?"), "p1": ("Question 1?", "another")}
    write_answers(run, "M3", again)

    found = by_key(write_results(folder))["judge/agreement"]
    assert (found.value, found.n, found.missing) == (1.0, 1, 1)


def test_a_copy_outside_a_run_is_read_but_not_written(tmp_path: Path) -> None:
    folder = judged_study(tmp_path / "run", SAID, {})
    copy = StudyFolder(tmp_path / "copy")
    shutil.copytree(folder.path, copy.path)

    assert len(read_results(copy).votes) == 12
    with pytest.raises(ConfigError, match="not below the eval/human/ of a run"):
        write_results(copy)


def test_a_run_without_studies_has_nothing_to_refresh_and_rankings_are_left_alone(
    tmp_path: Path,
) -> None:
    run = ranked_run(tmp_path / "run", {"p0": ["one", "two"]})
    assert refresh(run) == {}
    folder = prepare_ranking(run, 2, StudySize(1, 1))
    assert refresh(run) == {}
    with pytest.raises(ConfigError, match="a study of rankings has no votes"):
        write_results(folder)
    with pytest.raises(MissingArtifact, match="no study here"):
        read_results(StudyFolder(tmp_path / "nowhere"))


def test_no_annotator_s_secret_is_in_the_artifacts(tmp_path: Path) -> None:
    run = tmp_path / "run"
    folder = judged_study(run, SAID, JUDGE)
    write_results(folder)
    written = "".join(
        path.read_text() for stem in ("items", "scores") for path in folder.path.glob(f"{stem}*")
    )

    assert all(token not in written for token in json.loads(folder.links.read_text()).values())


def test_a_study_nobody_has_voted_in_has_results_that_say_so(tmp_path: Path) -> None:
    found = by_key(write_results(comparison(tmp_path / "run")))

    assert (found["win"].value, found["win"].missing) == (None, 4)
    assert found["win"].reason == "no item has the votes of all annotators yet"
