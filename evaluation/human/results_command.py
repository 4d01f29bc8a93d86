"""The command `human-results`: what the votes of a study come to."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.command import results
from core.errors import ConfigError
from core.progress import say

if TYPE_CHECKING:
    from core.records import Score
    from evaluation.human.study import StudyFolder

Study = Annotated[Path | None, typer.Option(help="The study's folder, RUN/eval/human/….")]
Run = Annotated[
    Path | None, typer.Option(help="Instead: make the results of all comparisons of a run again.")
]
LeaveOut = Annotated[
    list[str] | None,
    typer.Option(help="An annotator who did not finish, e.g. annotator-3; may be repeated."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on stdout.")]


def human_results(
    *,
    study: Study = None,
    run: Run = None,
    leave_out: LeaveOut = None,
    as_json: AsJson = False,
) -> None:
    """Print what people said: majorities, agreement among them and with the judge.

    In a run the results are also written where `srlm-report` finds them.
    """
    from evaluation.human.results import refresh
    from evaluation.human.study import StudyFolder

    if (study is None) == (run is None) or (run is not None and leave_out):
        message = "human-results: give --study FOLDER (with --leave-out NAME if need be), or --run"
        raise ConfigError(message)
    if study is not None:
        _print(report(StudyFolder(study), leave_out or []), as_json=as_json)
        return
    done = refresh(Path(run or ""))
    if not done:
        message = f"{run}: no study that compares two models; prepare one with `make human-eval`"
        raise ConfigError(message)
    for folder in done:
        say(f"{folder.path}: results are up to date")


def report(folder: StudyFolder, leave_out: list[str]) -> dict[str, Any]:
    """Return what a study comes to, as the command prints it; in a run also write its artifacts.

    Raises:
        MissingArtifact: there is no study.
        ConfigError: annotators to be left out are not those of the study, or it is of rankings.
    """
    from evaluation.human.study import read_study

    if read_study(folder).kind == "ranking":
        if leave_out:
            message = "--leave-out: for comparisons; rankings have no majority"
            raise ConfigError(message)
        return _rankings(folder)
    return _comparison(folder, leave_out)


def _comparison(folder: StudyFolder, leave_out: list[str]) -> dict[str, Any]:
    from evaluation.human.results import all_scores, read_results, run_of, write_results

    found = read_results(folder, leave_out)
    if run_of(folder) is not None:
        scores = write_results(folder, leave_out)
        say(f"written to {folder.path}: items.jsonl, scores.jsonl")
    else:
        scores = all_scores(found, None)
    return {
        "study": "-".join(found.study.models),
        "items": len(found.items),
        "complete": sum(item.majority is not None for item in found.items),
        "annotators": len(found.annotators),
        "left_out": found.left_out,
        "votes": len(found.votes),
        "scores": _by_key(scores),
    }


def _rankings(folder: StudyFolder) -> dict[str, Any]:
    from evaluation.human import ranking_statistics
    from evaluation.human.rankings import read_rankings
    from evaluation.human.study import read_study

    study, rankings = read_study(folder), read_rankings(folder.path)
    return {
        "study": f"candidates of iteration {study.iteration}",
        "items": len(study.items),
        "annotators": len(study.annotators),
        "rankings": len(rankings),
        "scores": _by_key(ranking_statistics.scores(rankings, seed=study.seed)),
    }


def _by_key(scores: list[Score]) -> dict[str, dict[str, Any]]:
    return {
        score.key: {name: value for name, value in asdict(score).items() if name != "key"}
        for score in sorted(scores, key=lambda score: score.key)
    }


def _print(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(found, ensure_ascii=False, allow_nan=False) + "\n")
        return
    for name, value in found.items():
        if name != "scores":
            shown = ", ".join(value) or "nobody" if isinstance(value, list) else str(value)
            results().print(f"{name:<24} {shown}", markup=False)
    for key, score in found["scores"].items():
        results().print(f"{key:<24} {_words(score)}", soft_wrap=True, markup=False)


def _words(score: dict[str, Any]) -> str:
    if score["value"] is None:
        return f"– ({score['reason']})"
    value = f"{score['value']:.4f}"
    if score["low"] is not None:
        value += f" [{score['low']:.4f}, {score['high']:.4f}]"
    missing = f", {score['missing']} missing" if score["missing"] else ""
    detail = {k: v for k, v in (score["detail"] or {}).items() if v is not None}
    said = "".join(f", {k} {v:.4g}" for k, v in detail.items())
    return f"{value}  n = {score['n']}{missing}{said}"
