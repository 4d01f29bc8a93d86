"""Building a run's report: read and verify artifacts, fill the document, write every format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import ConfigError
from core.store import write_atomically
from reports.collect import collect
from reports.contents import report_of
from reports.formats import csv_files, html, latex, markdown
from reports.lineage import verified
from reports.results import RunResults
from reports.scores import to_json

if TYPE_CHECKING:
    from pathlib import Path

    from reports.document import Report

MOST_ROWS = 1000


def build(run: Path, out: Path, *, rehash: bool = False, most_rows: int = MOST_ROWS) -> list[Path]:
    """Write a run's report below `out`; return the files, the HTML first.

    report.html, report.md, scores.json, tables/*.csv, latex/*.tex and figures/*.svg. The same
    artifacts give the same bytes. `rehash` reads every file of the run again; `most_rows` limits
    the rows that stand behind one number in the HTML.

    Raises:
        ConfigError: there is no run, or nothing in it is finished.
        StaleArtifact: an artifact does not belong to what lies beside it.
    """
    results = RunResults(run)
    artifacts = verified(results.store, rehash=rehash)
    if not artifacts:
        message = f"{run}: no artifact is finished there yet, so there is nothing to report"
        raise ConfigError(message)
    scores = to_json(collect(results))
    report = report_of(results, artifacts, most_rows=most_rows)
    return [*write(report, out), _write(out / "scores.json", scores)]


def write(report: Report, out: Path) -> list[Path]:
    """Write a report in every format; return the files, the HTML first."""
    files = {out / "report.html": html.render(report), out / "report.md": markdown.render(report)}
    files |= {out / "tables" / name: text for name, text in csv_files.tables(report).items()}
    files |= {out / "latex" / name: text for name, text in latex.tables(report).items()}
    files |= {out / "figures" / f"{figure.key}.svg": figure.svg for figure in report.figures}
    return [_write(path, text) for path, text in files.items()]


def _write(path: Path, text: str) -> Path:
    write_atomically(path, text)
    return path
