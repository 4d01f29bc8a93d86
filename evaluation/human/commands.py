"""The commands `human-eval …`: prepare and serve a blind study, print its links, export it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.command import results
from core.errors import ConfigError

if TYPE_CHECKING:
    from evaluation.human.study import StudyFolder

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
    """Prepare a study unless it is there already, print each annotator's link, and serve it."""
    from evaluation.human.server.server import serve_study

    folder = _prepared(run, a, b, rank_candidates, n=n, annotators=annotators, seed=seed)
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
    folder = _prepared(run, a, b, rank_candidates, n=n, annotators=annotators, seed=seed)
    results().print(str(folder.path), soft_wrap=True, markup=False)


@app.command()
def serve(
    study: Study, host: Host = "127.0.0.1", port: Port = _PORT, address: Address = None
) -> None:
    """Serve a prepared study as it is."""
    from evaluation.human.server.server import serve_study
    from evaluation.human.study import StudyFolder

    serve_study(StudyFolder(study), host=host, port=port, address=address)


@app.command()
def links(study: Study, address: Address = None) -> None:
    """Print each annotator's personal link again."""
    from evaluation.human.prepare import links as links_of
    from evaluation.human.study import StudyFolder

    for annotator, link in links_of(StudyFolder(study), address or _HERE):
        results().print(f"{annotator}  {link}", soft_wrap=True, markup=False)


@app.command()
def export(study: Study) -> None:
    """Write the votes given so far to votes.jsonl (rankings: rankings.jsonl) in the study."""
    from evaluation.human.server.server import export as write
    from evaluation.human.study import StudyFolder

    results().print(str(write(StudyFolder(study))), soft_wrap=True, markup=False)


def _prepared(
    run: Path,
    a: str | None,
    b: str | None,
    rank_candidates: int | None,
    *,
    n: int,
    annotators: int,
    seed: int,
) -> StudyFolder:
    from evaluation.human.prepare import Asked, prepare_comparison, prepare_ranking

    asked = Asked(n, annotators, seed)
    if rank_candidates is not None and a is None and b is None:
        return prepare_ranking(run, rank_candidates, asked)
    if rank_candidates is None and a is not None and b is not None:
        return prepare_comparison(run, a, b, asked)
    message = "human-eval: give --a and --b (two models), or --rank-candidates ITERATION"
    raise ConfigError(message)
