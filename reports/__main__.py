"""The command line: `srlm-report build`, `compare` and `gate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.command import Version, results, run_command
from core.errors import ConfigError
from core.progress import say

if TYPE_CHECKING:
    from reports.scores import ScoresFile

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Report a run, compare runs, or check one against a baseline. Reads artifacts only.",
)


@app.callback()
def srlm_report(*, version: Version = False) -> None:
    """Options of the command itself."""


REPORT = "report"
RunFolder = Annotated[Path | None, typer.Option("--run", help="Run folder, e.g. runs/quickstart.")]
RunConfig = Annotated[Path | None, typer.Option(help="The run's TOML file, instead of --run.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="With --config: override, e.g. --set run=x.")
]


@app.command()
def build(
    run: RunFolder = None,
    config: RunConfig = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to (default RUN/report).")
    ] = None,
    rehash: Annotated[
        bool, typer.Option("--rehash", help="Read and hash every file of the run, weights too.")
    ] = False,
    most_rows: Annotated[
        int, typer.Option(min=1, help="Rows kept behind one number in the HTML.")
    ] = 1000,
    settings: Settings = None,
) -> None:
    """Write a run's report: HTML, Markdown, CSV, LaTeX, figures and scores.json."""
    from reports.build import build as write

    folder = _folder(run, config, settings)
    files = write(folder, out or folder / REPORT, rehash=rehash, most_rows=most_rows)
    results().print(f"Report: {files[0]}", soft_wrap=True, markup=False)
    say(f"{len(files)} files beside it: Markdown, CSV, LaTeX, SVG, PDF, scores.json")


@app.command()
def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Run folders or scores.json files; the first is the baseline. With --group: run "
            "folders, or a sweep's TOML file."
        ),
    ],
    group: Annotated[
        bool,
        typer.Option("--group", help="Runs named VARIANT-seedN are seeds of one variant."),
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Also write HTML, Markdown, CSV and LaTeX there.")
    ] = None,
) -> None:
    """Compare two or more runs, or variants over their seeds, with differences paired by item."""
    from reports.build import write
    from reports.formats import markdown
    from reports.gate.compare import compare_runs
    from reports.gate.groups import compare_groups
    from reports.gate.members import members

    if group:
        report = compare_groups(members(_of_a_sweep(runs)))
    else:
        if len(runs) < 2:  # noqa: PLR2004 - two make a comparison
            message = "compare: give two or more run folders or scores.json files"
            raise ConfigError(message)
        report = compare_runs([_scores(path) for path in runs])
    sys.stdout.write(markdown.render(report))
    if out is not None:
        say(f"Report: {write(report, out)[0]}")


def _of_a_sweep(paths: list[Path]) -> list[Path]:
    """Return run folders, those of a sweep in place of its file; says which it has not made."""
    from core.sweep import load_sweep

    found = []
    for path in paths:
        if path.suffix != ".toml":
            found.append(path)
            continue
        sweep = load_sweep(path)
        for run in sorted(sweep.runs, key=lambda run: sweep.variants.index(run.variant)):
            if (run.config.folder / "config.json").is_file():
                found.append(run.config.folder)
            else:
                say(f"{run.name}: not there yet ({run.config.folder})")
    return found


@app.command()
def gate(
    baseline: Annotated[Path, typer.Option(help="Baseline: run folder or scores.json.")],
    candidate: Annotated[
        Path | None, typer.Option(help="Candidate: run folder or scores.json.")
    ] = None,
    config: RunConfig = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML there.")] = None,
    summary: Annotated[
        Path | None, typer.Option(help="Append a Markdown summary (a CI job's summary file).")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Only metrics that match, e.g. 'nlp' or 'M3/*'.")
    ] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Exclude metrics that match.")] = None,
    tolerance: Annotated[
        list[str] | None,
        typer.Option(help="PATTERN=DROP: smaller drops never fail, e.g. 'nlp=2'."),
    ] = None,
    alpha: Annotated[
        float, typer.Option(min=0.0001, max=0.5, help="Family-wise false-alarm rate.")
    ] = 0.05,
    max_lost: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Share of the baseline's items it may have lost."),
    ] = 0.05,
    seed: Annotated[int, typer.Option(help="Seed of permutations.")] = 0,
    settings: Settings = None,
) -> None:
    """Exit 1 if the candidate is significantly worse, 2 if the two cannot be compared."""
    from core.store import write_atomically
    from reports.gate import output as gate_output
    from reports.gate.gate import GateOptions, parse_tolerances, run_gate

    options = GateOptions(
        only=tuple(only or ()),
        exclude=tuple(exclude or ()),
        tolerances=parse_tolerances(tolerance or ()),
        alpha=alpha,
        max_lost=max_lost,
        seed=seed,
    )
    checked = candidate if candidate is not None else _folder(None, config, settings)
    found = run_gate(_scores(baseline), _scores(checked), options)
    if junit is not None:
        write_atomically(junit, gate_output.junit(found))
    if summary is not None:
        before = summary.read_text("utf-8", errors="replace") if summary.is_file() else ""
        write_atomically(summary, before + gate_output.markdown(found))
    out = results()
    out.print(gate_output.table(found))
    for line in gate_output.annotations(found):
        out.print(line, soft_wrap=True, markup=False)
    raise typer.Exit(found.exit_code)


def _folder(run: Path | None, config: Path | None, settings: list[str] | None) -> Path:
    """Return the run's folder, named directly or by its configuration."""
    from core.config import load_config

    if run is not None and config is None:
        return run
    if config is not None and run is None:
        return load_config(config, settings).folder
    message = "give either the run's folder or its --config"
    raise ConfigError(message)


def _scores(path: Path) -> ScoresFile:
    """Return the scores of a run folder or a scores.json.

    Raises:
        ConfigError, DataError: it is neither.
        StaleArtifact: the run's artifacts do not fit together.
    """
    from core.reader import RunReader
    from reports.collect import collect
    from reports.lineage import verified
    from reports.scores import read_scores

    if not path.is_dir():
        return read_scores(path)
    found = RunReader(path, strict=True)
    verified(found.store)
    return collect(found)


def main() -> None:
    """Run the command; see `core.command`."""
    run_command(app)


if __name__ == "__main__":
    main()
