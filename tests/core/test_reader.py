"""Reading a run: what it has, what it lacks and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.benchmarks import Subject
from core.errors import ConfigError, DataError, MissingArtifact
from core.reader import RunReader
from core.records import Score
from core.stages import Ref, Stage, evaluation_ref
from tests.reports.runs import RunBuilder
from tests.web.explorer.made import PAIRS, made_run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a made run; never change its files."""
    return made_run(tmp_path_factory.mktemp("runs") / "made")


@pytest.mark.parametrize(
    ("ref", "why"),
    [
        (PAIRS, None),
        (Ref(3, Stage.PROMPTS), "not complete: 2 rows so far (a run is making it, or was stopped)"),
        (Ref(3, Stage.PAIRS), "not made yet"),
        (Ref(7, Stage.PAIRS), "the run ends with iteration 3"),
        (evaluation_ref("M1/mt_bench", Stage.ANSWERS), "failed: the judge went away"),
        (evaluation_ref("M2/agreement", Stage.RANKED_JUDGMENTS), None),
        (evaluation_ref("M1/agreement", Stage.SCORES), "M1 is not trained yet"),
        (evaluation_ref("M3/mt_bench", Stage.SCORES), "M3 is not among evaluation.models"),
        (evaluation_ref("M1/nlp/mmlu", Stage.ITEMS), "mmlu is not among evaluation.nlp.tasks"),
        (
            evaluation_ref("contamination/iter3", Stage.FLAGS),
            "contamination is not among evaluation.benchmarks",
        ),
        (evaluation_ref("self_judge/iter3", Stage.SCORES), "not evaluated yet"),
    ],
)
def test_what_is_missing_says_why(made: Path, ref: Ref, why: str | None) -> None:
    assert RunReader(made).why_missing(ref) == why


def test_a_model_in_training_is_not_complete(tmp_path: Path) -> None:
    folder = made_run(tmp_path / "made")
    (folder / "iter2" / "model.work").mkdir()
    why = RunReader(folder).why_missing(Ref(2, Stage.MODEL))
    assert why == "not complete: a run is making it, or was stopped"


def test_a_strict_reader_refuses_a_damaged_configuration_and_takes_none(tmp_path: Path) -> None:
    folder = RunBuilder(tmp_path / "run").folder
    assert RunReader(folder, strict=True).config is None
    (folder / "config.json").write_text("[")
    with pytest.raises(ConfigError, match=r"config\.json is damaged"):
        RunReader(folder, strict=True)
    problem = RunReader(folder).config_problem
    assert problem is not None
    assert "damaged" in problem


def test_scores_are_read_again_when_they_are_made_again(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path / "run").scores("M1/mt_bench", Score("overall", 5.0, 2))
    reader = RunReader(run.folder)
    first = reader.scores("M1/mt_bench")
    assert first["overall"].value == 5.0
    assert reader.scores("M1/mt_bench") is first
    run.store.remove([evaluation_ref("M1/mt_bench", Stage.SCORES)])
    assert reader.scores("M1/mt_bench") == {}
    run.scores("M1/mt_bench", Score("overall", 6.5, 2))
    assert reader.scores("M1/mt_bench")["overall"].value == 6.5


def test_an_absent_benchmark_says_why_and_a_present_one_does_not(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path / "run").scores("M1/mt_bench", Score("overall", 5.0, 2))
    assert RunReader(run.folder).why_absent("M1/mt_bench") is None
    assert RunReader(run.folder).why_absent("M1/alpaca_eval") == "not imported"
    run.config(evaluation={"models": ["M1"], "benchmarks": ["mt_bench", "alpaca_eval"]})
    run.failed(M1__alpaca_eval="the judge went away")
    reader = RunReader(run.folder)
    assert reader.why_absent("M1/alpaca_eval") == "failed: the judge went away"
    assert reader.failure("M1/mt_bench") is None
    assert reader.why_absent("M1/agreement") == "agreement is not among evaluation.benchmarks"
    assert reader.why_absent("human/M1-M0") == (
        "no results yet: srlm-eval human-results --study RUN/eval/human/M1-M0"
    )


def test_a_damaged_record_of_failures_names_the_file_and_the_command(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path / "run")
    run.store.paths.outcomes.write_text("{}")
    with pytest.raises(DataError, match=r"outcomes.json.*make eval-all"):
        RunReader(run.folder).failure("M1/mt_bench")


def test_the_manifest_of_what_is_not_there_says_why_it_is_not(made: Path) -> None:
    with pytest.raises(MissingArtifact, match="iter7/pairs: the run ends with iteration 3"):
        RunReader(made).manifest(Ref(7, Stage.PAIRS))


def test_subjects_are_those_asked_for_and_those_with_scores(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path / "run").scores("M5/mt_bench", Score("overall", 5.0, 2))
    matchups = [["M1", "sft"]]
    asked = {"models": ["M1"], "benchmarks": ["head_to_head", "nlp"]}
    sections = {"head_to_head": {"matchups": matchups}, "nlp": {"tasks": ["piqa"]}}
    run.config(evaluation=asked | sections)
    assert RunReader(run.folder).subjects() == [
        Subject("head_to_head", ("M1", "sft")),
        Subject("mt_bench", ("M5",)),
        Subject("nlp", ("M1",), part="piqa"),
        Subject("nlp", ("M5",), part="piqa"),
    ]


def test_a_model_that_only_answered_for_a_matchup_has_no_results(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path / "run")
    (run.folder / "eval" / "M4" / "head_to_head").mkdir(parents=True)
    (run.folder / "eval" / "tags" / "alpaca_eval").mkdir(parents=True)
    reader = RunReader(run.folder)
    assert reader.models == ()
    assert reader.answering_models == ("M4",)


def test_feedback_iterations_are_those_with_prompts(made: Path) -> None:
    assert RunReader(made).feedback_iterations == (2,)
    assert RunReader(made).iterations == (0, 1, 2, 3)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ConfigError, match="not a run"):
            RunReader(folder)
