"""The commands `human-eval …` and `human-results`: prepare, serve, export and score a study."""

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
from evaluation.human.study import StudyFolder, read_study

if TYPE_CHECKING:
    from core.records import Score

app = typer.Typer(no_args_is_help=True, help="Blind judging by people, in the browser.")

Run = Annotated[Path, typer.Option(help="The run's folder, e.g. runs/quickstart.")]
A = Annotated[str | None, typer.Option("--a", help="A model of the run, e.g. M3.")]
B = Annotated[str | None, typer.Option("--b", help="The model it is compared with, e.g. sft.")]
RankCandidates = Annotated[
    int | None,
    typer.Option(help="Instead of comparing models: rank the candidates of this iteration."),
]
N = Annotated[int, typer.Option("--n", min=1, help="Prompts, a seeded sample (paper: 50).")]
Annotators = Annotated[int, typer.Option(min=1, help="People, each judging every prompt.")]
Seed = Annotated[int, typer.Option(help="Decides the sample, the sides and the orders.")]
Host = Annotated[str, typer.Option(help="Address to serve on; others than loopback are warned of.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")]
Address = Annotated[
    str | None,
    typer.Option(help="Where a proxy or tunnel is reached, for the links: https://study.example."),
]
Study = Annotated[Path, typer.Option(help="The study's folder, RUN/eval/human/….")]
_PORT = 8766
_HERE = f"http://127.0.0.1:{_PORT}"


@app.command()
def start(
    *,
    run: Run,
    a: A = None,
    b: B = None,
    rank_candidates: RankCandidates = None,
    n: N = 50,
    annotators: Annotators = 3,
    seed: Seed = 0,
    host: Host = "127.0.0.1",
    port: Port = _PORT,
    address: Address = None,
) -> None:
    """Prepare a study unless it exists, print each annotator's link, and serve it."""
    from evaluation.human.server.server import serve_study

    folder = _prepared(run, a, b, rank_candidates, n, annotators, seed)
    serve_study(folder, host=host, port=port, address=address)


@app.command()
def prepare(
    *,
    run: Run,
    a: A = None,
    b: B = None,
    rank_candidates: RankCandidates = None,
    n: N = 50,
    annotators: Annotators = 3,
    seed: Seed = 0,
) -> None:
    """Prepare a study without serving it."""
    folder = _prepared(run, a, b, rank_candidates, n, annotators, seed)
    results().print(str(folder.path), soft_wrap=True, markup=False)


@app.command()
def serve(
    study: Study, host: Host = "127.0.0.1", port: Port = _PORT, address: Address = None
) -> None:
    """Serve a prepared study as it is."""
    from evaluation.human.server.server import serve_study

    serve_study(StudyFolder(study), host=host, port=port, address=address)


@app.command()
def links(study: Study, address: Address = None) -> None:
    """Print each annotator's personal link again."""
    from evaluation.human.prepare import links as links_of

    for annotator, link in links_of(StudyFolder(study), address or _HERE):
        results().print(f"{annotator}  {link}", soft_wrap=True, markup=False)


@app.command()
def export(study: Study) -> None:
    """Write the votes given so far to votes.jsonl (rankings: rankings.jsonl) in the study."""
    from evaluation.human.server.server import export as write

    results().print(str(write(StudyFolder(study))), soft_wrap=True, markup=False)


def _prepared(
    run: Path, a: str | None, b: str | None, rank_candidates: int | None, *size: int
) -> StudyFolder:
    from evaluation.human.prepare import StudySize, prepare_comparison, prepare_ranking

    if rank_candidates is not None and a is None and b is None:
        return prepare_ranking(run, rank_candidates, StudySize(*size))
    if rank_candidates is None and a is not None and b is not None:
        return prepare_comparison(run, a, b, StudySize(*size))
    message = "human-eval: give --a and --b (two models), or --rank-candidates ITERATION"
    raise ConfigError(message)


def human_results(
    *,
    study: Annotated[
        Path | None, typer.Option(help="The study's folder, RUN/eval/human/….")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="Instead: update the results of all comparisons of a run.")
    ] = None,
    leave_out: Annotated[
        list[str] | None,
        typer.Option(help="An annotator who did not finish, e.g. annotator-3; may be repeated."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON and nothing else on stdout.")
    ] = False,
) -> None:
    """Print a study's results: majorities, agreement among annotators and with the judge.

    In a run the results are also written where `srlm-report` finds them.
    """
    from evaluation.human.results import refresh

    if (study is None) == (run is None) or (run is not None and leave_out):
        message = "human-results: give --study FOLDER (with --leave-out NAME if need be), or --run"
        raise ConfigError(message)
    if study is not None:
        _print_results(report(StudyFolder(study), leave_out or []), as_json=as_json)
        return
    done = refresh(Path(run or ""))
    if not done:
        message = f"{run}: no study that compares two models; prepare one with `make human-eval`"
        raise ConfigError(message)
    for folder, left_out in done.items():
        _print_results(report(folder, list(left_out)), as_json=as_json)


def report(folder: StudyFolder, leave_out: list[str]) -> dict[str, Any]:
    """Return a study's results as the command prints them; in a run also write its artifacts.

    Raises:
        MissingArtifact: there is no study.
        ConfigError: annotators to be left out are not those of the study, or it is of rankings.
    """
    from evaluation.human.rankings import ranking_scores, read_rankings
    from evaluation.human.results import all_scores, read_results, run_of, write_results

    study = read_study(folder)
    if study.kind == "ranking":
        if leave_out:
            message = "--leave-out: for comparisons; rankings have no majority"
            raise ConfigError(message)
        rankings = read_rankings(folder.path)
        return {
            "study": f"candidates of iteration {study.iteration}",
            "items": len(study.items),
            "annotators": len(study.annotators),
            "rankings": len(rankings),
            "scores": _by_key(ranking_scores(rankings)),
        }
    found = read_results(folder, leave_out)
    if run_of(folder) is not None:
        scores = write_results(folder, leave_out)
        say(f"written to {folder.path}: items.jsonl, scores.jsonl")
    else:
        scores = all_scores(found, None)
    return {
        "study": "-".join(study.models),
        "items": len(found.items),
        "complete": sum(item.majority is not None for item in found.items),
        "annotators": len(found.annotators),
        "left_out": found.left_out,
        "votes": len(found.votes),
        "scores": _by_key(scores),
    }


def _by_key(scores: list[Score]) -> dict[str, dict[str, Any]]:
    return {
        score.key: {name: value for name, value in asdict(score).items() if name != "key"}
        for score in sorted(scores, key=lambda score: score.key)
    }


def _print_results(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(found, ensure_ascii=False, allow_nan=False) + "\n")
        return
    for name, value in found.items():
        if name != "scores":
            shown = ", ".join(value) or "none" if isinstance(value, list) else str(value)
            results().print(f"{name:<24} {shown}", markup=False)
    for key, score in found["scores"].items():
        results().print(f"{key:<24} {_text(score)}", soft_wrap=True, markup=False)


def _text(score: dict[str, Any]) -> str:
    if score["value"] is None:
        return f"– ({score['reason']})"
    value = f"{score['value']:.4f}"
    if score["low"] is not None:
        value += f" [{score['low']:.4f}, {score['high']:.4f}]"
    missing = f", {score['missing']} missing" if score["missing"] else ""
    detail = {k: v for k, v in (score["detail"] or {}).items() if v is not None}
    details = "".join(f", {k} {v:.4g}" for k, v in detail.items())
    return f"{value}  n = {score['n']}{missing}{details}"
