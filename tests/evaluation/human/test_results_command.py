from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from core.command import run_command
from core.stages import Stage, evaluation_ref
from core.store import Store
from evaluation.__main__ import app
from evaluation.human.prepare import StudySize, prepare_ranking
from evaluation.human.vote_store import Submission, VoteStore
from tests.evaluation.human.studies import ranked_run
from tests.evaluation.human.voting import judged_study

WHEN = "2026-11-24T15:00:00Z"


def human_results(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Run `srlm-eval human-results`; return the exit code."""
    monkeypatch.setattr("sys.argv", ["srlm-eval", "human-results", *words])
    with pytest.raises(SystemExit) as ended:
        run_command(app)
    return int(ended.value.code or 0)


def test_the_command_prints_json_and_writes_the_artifacts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    folder = judged_study(run, {"p0": "AAB", "p1": "ABt"}, {"p0": "A", "p1": "B"})
    assert human_results(monkeypatch, "--study", str(folder.path), "--json") == 0
    found = json.loads(capsys.readouterr().out)

    assert found["study"] == "M3-sft"
    assert (found["items"], found["complete"]) == (2, 2)
    assert (found["annotators"], found["votes"]) == (3, 6)
    assert found["scores"]["win"]["value"] == 50.0
    assert found["scores"]["judge/agreement"]["value"] == 0.5
    assert Store(run).exists(evaluation_ref("human/M3-sft", Stage.SCORES))


def test_the_command_prints_words_and_a_reason_where_there_is_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = judged_study(tmp_path / "run", {"p0": "AAA", "p1": "AAA"}, {})
    shutil.copytree(folder.path, tmp_path / "copy")
    assert human_results(monkeypatch, "--study", str(tmp_path / "copy")) == 0
    said = capsys.readouterr()

    lines = {line.split()[0]: " ".join(line.split()[1:]) for line in said.out.splitlines()}
    # Two of two: the Poisson mean m of which two or more are seen in 5 %, 1 − e^−m (1 + m) = .05.
    assert lines["win"].startswith("100.0000 [17.7681, 100.0000] n = 2")
    assert lines["people/alpha"] == (
        "– (all votes are the same, so nothing tells agreement from habit)"
    )
    assert lines["judge/agreement"] == "– (the study does not lie in a run)"
    assert not (tmp_path / "copy" / "scores.jsonl").exists()


def test_all_comparisons_of_a_run_are_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    judged_study(run, {"p0": "AAB"}, {})
    assert human_results(monkeypatch, "--run", str(run)) == 0
    assert Store(run).exists(evaluation_ref("human/M3-sft", Stage.SCORES))
    printed = capsys.readouterr().out
    assert "study                    M3-sft" in printed
    assert "people/alpha" in printed

    assert human_results(monkeypatch, "--run", str(tmp_path / "other")) == 2
    assert "no study that compares two models" in capsys.readouterr().err


def test_study_and_run_together_or_neither_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in ([], ["--study", "a", "--run", "b"], ["--run", "b", "--leave-out", "annotator-1"]):
        assert human_results(monkeypatch, *words) == 2
        assert "give --study FOLDER" in capsys.readouterr().err
    assert human_results(monkeypatch, "--study", str(tmp_path)) == 2
    assert "no study here" in capsys.readouterr().err


def test_a_study_of_rankings_has_an_alpha_of_ranks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ranked_run(tmp_path / "run", {"p0": ["one", "two"], "p1": ["three", "four"]})
    folder = prepare_ranking(run, 2, StudySize(2, 2))
    with VoteStore(folder.database) as store:
        for who in ("annotator-1", "annotator-2"):
            for item, ranks in (("p0", "1,2"), ("p1", "2,1")):
                submission = Submission(who, item, ranks, "0,1", "", 1.0, WHEN)
                store.save(submission).result(timeout=10)
    assert human_results(monkeypatch, "--study", str(folder.path), "--json") == 0
    found = json.loads(capsys.readouterr().out)

    assert (found["study"], found["rankings"]) == ("candidates of iteration 2", 4)
    assert found["scores"]["people/alpha_ranks"]["value"] == 1.0
    assert found["scores"]["people/alpha_ranks"]["n"] == 4
    words = ("--study", str(folder.path), "--leave-out", "annotator-1")
    assert human_results(monkeypatch, *words) == 2
    assert "rankings have no majority" in capsys.readouterr().err
