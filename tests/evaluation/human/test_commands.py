from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from core.errors import ConfigError, StaleArtifact
from evaluation.__main__ import app
from tests.evaluation.human.studies import compared_run, ranked_run


def said(*arguments: str | Path) -> str:
    done = CliRunner().invoke(app, ["human-eval", *map(str, arguments)], catch_exceptions=False)
    return done.stdout


def test_a_study_is_prepared_its_links_printed_again_and_its_votes_exported(tmp_path: Path) -> None:
    run = compared_run(tmp_path / "run")
    arguments = ("--run", run, "--a", "M3", "--b", "sft", "--n", "4", "--annotators", "2")
    study = said("prepare", *arguments).strip()
    assert study == str(run / "eval" / "human" / "M3-sft")
    printed = said("links", "--study", study, "--address", "https://study.example")
    names, addresses = zip(*(line.split() for line in printed.splitlines()), strict=True)
    assert names == ("annotator-1", "annotator-2")
    assert all(address.startswith("https://study.example/study/") for address in addresses)
    here = said("links", "--study", study)
    assert here == printed.replace("https://study.example", "http://127.0.0.1:8766")
    assert said("export", "--study", study).strip() == f"{study}/votes.jsonl"
    with pytest.raises(StaleArtifact, match="SEED was 0, is 1"):
        said("prepare", *arguments, "--seed", "1")


def test_candidates_are_ranked_instead_of_models_compared(tmp_path: Path) -> None:
    run = ranked_run(tmp_path / "run", {"p0": ["x", "y"]})
    study = said("prepare", "--run", run, "--rank-candidates", "2", "--n", "1").strip()
    assert study == str(run / "eval" / "human" / "iter2-candidates")
    assert said("export", "--study", study).strip() == f"{study}/rankings.jsonl"


@pytest.mark.parametrize(
    "given", [(), ("--a", "M3"), ("--a", "M3", "--b", "M1", "--rank-candidates", "2")]
)
def test_two_models_or_an_iteration_are_needed(tmp_path: Path, given: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="give --a and --b"):
        said("prepare", "--run", tmp_path, *given)
