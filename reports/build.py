"""Building a run's report: read and verify artifacts, fill the document, write every format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import ConfigError
from core.reader import RunReader
from core.stages import model_ref
from core.store import write_atomically
from reports.collect import collect
from reports.document import Artifact, Report
from reports.formats import csv_files, html, latex, markdown
from reports.gaps import without_gaps
from reports.lineage import check_config, verified
from reports.published.comparable import external_judges
from reports.published.condition_differences import given_m1, shown_judge
from reports.scores import to_json
from reports.sections import SECTIONS, groups
from reports.sections.cells import seed_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def build(run: Path, out: Path, *, rehash: bool = False, most_rows: int = 1000) -> list[Path]:
    """Write a run's report below `out`; return the files, the HTML first.

    report.html, report.md, scores.json, tables/*.csv, latex/*.tex, figures/*.svg and .pdf. The same
    artifacts give the same bytes. `rehash` reads every file of the run again; `most_rows` limits
    the rows that stand behind one number in the HTML.

    Raises:
        ConfigError: there is no run, or nothing in it is finished.
        StaleArtifact: an artifact, or config.json, does not belong to what lies beside it.
    """
    results = RunReader(run, strict=True)
    artifacts = verified(results.store, rehash=rehash)
    if not artifacts:
        message = f"{run}: no artifact is finished there yet, so there is nothing to report"
        raise ConfigError(message)
    if results.config is not None:
        check_config(results.config, artifacts)
    scores = to_json(collect(results))
    files = write(report_of(results, artifacts, most_rows=most_rows), out)
    write_atomically(out / "scores.json", scores)
    return [*files, out / "scores.json"]


def report_of(results: RunReader, artifacts: Mapping[str, Artifact], *, most_rows: int) -> Report:
    """Return the report of a run: summary, benchmarks, how the data was made, the paper's numbers.

    `artifacts`: verified, by address; `most_rows`: kept behind one number.
    """
    sections = [section for source in SECTIONS for section in source.build(results)]
    return Report(
        f"Self-Rewarding Language Models: {results.name}",
        _facts(results, artifacts),
        tuple(s for s in sections if s.tables or s.figures or s.paragraphs),
        groups(results, most=most_rows),
        artifacts,
    )


def _origin(results: RunReader) -> tuple[str, str]:
    """Return what the run's models come from: a given M1, else M0."""
    if (given := given_m1(results)) is not None:
        return "M1, given", given
    base = results.setting("model.base", model_ref(0))
    if results.exists(model_ref(0)):  # its origin is more precise than the setting's name
        base = results.manifest(model_ref(0)).facts.get("origin", base)
    return "base model", str(base)


def _facts(results: RunReader, artifacts: Mapping[str, Artifact]) -> tuple[tuple[str, str], ...]:
    """Return what identifies the run: base model, seed, versions, when it was finished."""
    facts = [("run", results.name)]
    if not results.only_imported:
        facts += [_origin(results), ("seed", str(seed_of(results)))]
    if judges := external_judges(results):
        facts.append(("judge", ", ".join(map(shown_judge, judges))))
    versions = sorted({artifact.code_version for artifact in artifacts.values()})
    facts.append(("srlm", ", ".join(versions)))
    if artifacts:
        facts.append(("finished", max(a.finished_at for a in artifacts.values())))
    facts.append(("artifacts", str(len(artifacts))))
    return tuple(facts)


def write(report: Report, out: Path) -> list[Path]:
    """Write a report in every format; return the files, the HTML first.

    What has no number is a sentence in all of them but the CSV files.
    """
    shown = without_gaps(report)
    files: dict[Path, str | bytes] = {out / "report.html": html.render(shown)}
    files[out / "report.md"] = markdown.render(shown)
    files |= {out / "tables" / name: text for name, text in csv_files.tables(report).items()}
    files |= {out / "latex" / name: text for name, text in latex.tables(shown).items()}
    for figure in report.figures:
        files[out / "figures" / f"{figure.key}.svg"] = figure.svg
        files[out / "figures" / f"{figure.key}.pdf"] = figure.pdf
    for path, content in files.items():
        write_atomically(path, content)
    return [*files]
