"""The gate's result as JUnit XML, Markdown, GitHub annotations and a terminal table.

All are made of one list of rows. Names come from files: each format escapes them.
"""

# No `from __future__ import annotations` here: a function of this module has that name.

import html
import re
from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree as ET

from reports.document import number
from reports.gate.pairs import NOTHING, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.table import Table

    from reports.gate.gate import GateResult
    from reports.gate.metric import Checked

_NAMED = 5  # ids in one annotation
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MARKDOWN = re.compile(r"([\\`*_\[\]|~#$])")
_INCOMPARABLE = "incomparable"
_RESULTS = {
    _INCOMPARABLE: "not comparable",
    "failed": "DROPPED",
    "tolerated": "dropped, tolerated",
    "passed": "ok",
    "improved": "improved",
}
_STYLES = {_INCOMPARABLE: "yellow", "failed": "red", "tolerated": "yellow", "improved": "green"}
_HEADS = ("metric", "baseline", "candidate", "difference", "n", "p (Holm)", "MDE", "result")
_ABSENT = "–"


class _Row(NamedTuple):
    """One metric as every format prints it: cells for tables, a message, and all its details."""

    id: str
    suite: str
    outcome: str
    cells: tuple[str, ...]
    message: str
    details: tuple[str, ...]


def _rows(result: "GateResult") -> list[_Row]:
    """Return what could not be compared, then the tested metrics."""
    absent = (_ABSENT,) * (len(_HEADS) - 2)
    found = [
        _Row(
            problem.id, "gate", _INCOMPARABLE,
            (problem.id, *absent, _RESULTS[_INCOMPARABLE]),
            problem.reason, (problem.reason, _remedy([problem])),
        )
        for problem in result.problems
    ]  # fmt: skip
    return found + [
        _Row(one.id, f"gate.{one.benchmark}", one.outcome, _cells(one), _drop(one), _details(one))
        for one in result.checked
    ]


def headline(result: "GateResult") -> str:
    """Return the result as one line."""
    parts = []
    if result.problems:
        parts.append(f"{_metrics(len(result.problems))} cannot be compared")
    tested = len(result.checked)
    if failed := len(result.failed):
        parts.append(f"{failed} of {_metrics(tested)} dropped")
    elif tested:
        parts.append(f"no drop beyond chance and tolerance in {_metrics(tested)}")
    if improved := len(result.with_outcome("improved")):
        parts.append(f"{improved} improved")
    return "; ".join(parts)


def junit(result: "GateResult") -> str:
    """Return JUnit XML: a test case per metric; a drop is a failure, the incomparable an error."""
    numbers = {
        "tests": str(len(result.checked) + len(result.problems)),
        "failures": str(len(result.failed)),
        "errors": str(len(result.problems)),
    }
    root = ET.Element("testsuites", numbers)
    suite = ET.SubElement(root, "testsuite", {"name": "regression gate", **numbers})
    kinds = {_INCOMPARABLE: ("error", "incomparable"), "failed": ("failure", "drop")}
    for row in _rows(result):
        case = ET.SubElement(suite, "testcase", classname=_xml(row.suite), name=_xml(row.id))
        if row.outcome in kinds:
            tag, kind = kinds[row.outcome]
            node = ET.SubElement(case, tag, message=_xml(row.message), type=kind)
        else:
            node = ET.SubElement(case, "system-out")
        node.text = _xml("\n".join(row.details))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def markdown(result: "GateResult") -> str:
    """Return a summary for a CI job page (GITHUB_STEP_SUMMARY)."""
    state = {0: "passed", 1: "failed", 2: "not comparable"}[result.exit_code]
    lines = [f"## Regression gate: {state}", ""]
    runs = f"candidate {_md(result.candidate)} against baseline {_md(result.baseline)}"
    lines += [f"{_md(headline(result))} ({runs}).", ""]
    rows = _rows(result)
    incomparable = [row for row in rows if row.outcome == _INCOMPARABLE]
    for row in incomparable:
        lines.append(f"- **{_md(row.id)}**: {'. '.join(map(_md, row.details))}")
    if incomparable:
        lines.append("")
    if tested := [row for row in rows if row.outcome != _INCOMPARABLE]:
        lines += [_md_row(_HEADS), "|" + " --- |" * len(_HEADS)]
        tested.sort(key=lambda row: row.outcome != "failed")
        lines += [_md_row([_md(cell) for cell in row.cells]) for row in tested]
        lines += ["", _md(_legend(result)), ""]
    for note, ids in _notes(result):
        lines.append(f"- {_md(note)}: {_md(_some(ids))}")
    if result.new:
        lines += ["", f"Only in the candidate, not tested: {_md(', '.join(result.new))}"]
    return "\n".join(lines).rstrip() + "\n"


def annotations(result: "GateResult") -> list[str]:
    """Return workflow commands that GitHub shows beside a job: errors first.

    Equal reasons share one, since a job shows ten of a kind.

    Source: GitHub's documentation, "Workflow commands for GitHub Actions"; what must be escaped
    there is what its toolkit (actions/toolkit, core/src/command.ts) escapes.
    """
    lines = []
    for reason, ids in _grouped((p.reason, p.id) for p in result.problems):
        problems = [problem for problem in result.problems if problem.reason == reason]
        text = f"{_some(ids)}: {reason}. {_remedy(problems)}"
        lines.append(_command("error", "Regression gate: not comparable", text))
    lines += [
        _command("error", f"Regression gate: {one.id} dropped", _drop(one)) for one in result.failed
    ]
    for one in result.with_outcome("tolerated"):
        text = f"{_drop(one)}, within the tolerance of {number(one.tolerance)}"
        lines.append(_command("warning", f"Regression gate: {one.id}", text))
    uneven = [one for one in result.checked if one.n_only_baseline or one.n_only_candidate]
    if counts := [f"{one.id} (n={_n(one)})" for one in uneven]:
        text = f"Items in one file only were left out: {_some(counts)}"
        lines.append(_command("warning", "Regression gate: items", text))
    for note, ids in _notes(result):
        lines.append(_command("warning", "Regression gate: power", f"{_some(ids)}: {note}"))
    for one in result.with_outcome("improved"):
        lines.append(_command("notice", f"Regression gate: {one.id} improved", _change(one)))
    return lines


def table(result: "GateResult") -> "Table":
    """Return a terminal table. Its frame keeps a cell from beginning a line of a log."""
    from rich.table import Table as RichTable
    from rich.text import Text

    title = f"{result.candidate} against {result.baseline}: {headline(result)}"
    out = RichTable(title=Text(_plain(title)), caption=Text(_plain(_legend(result))))
    for at, head in enumerate(_HEADS):
        out.add_column(head, justify="left" if at in {0, len(_HEADS) - 1} else "right")
    for row in _rows(result):
        out.add_row(*(Text(_plain(cell)) for cell in row.cells), style=_STYLES.get(row.outcome))
    return out


def _cells(one: "Checked") -> tuple[str, ...]:
    values = (number(one.baseline), number(one.candidate), _change(one), _n(one))
    return (one.id, *values, f"{one.adjusted:.4f}", _least(one), _RESULTS[one.outcome])


def _details(one: "Checked") -> tuple[str, ...]:
    """Return all that is known of a metric, a line each."""
    lines = (
        f"baseline {number(one.baseline)}, candidate {number(one.candidate)}",
        f"difference {_change(one)} ({one.unit})",
        f"items {_n(one)}, clusters {one.n_clusters}",
        f"one-sided p {one.p_value:.6f} ({one.test}), Holm-adjusted {one.adjusted:.6f}",
        f"tolerance {number(one.tolerance)}",
        f"minimum detectable effect {_least(one)} ({one.detectable.method})",
        one.detectable.note,
    )
    return tuple(line for line in lines if line)


def _least(one: "Checked") -> str:
    return _ABSENT if one.detectable.least is None else number(one.detectable.least)


def _change(one: "Checked") -> str:
    sign = "+" if one.difference > 0 else ""
    text = f"{sign}{number(one.difference)}"
    if one.interval is None:
        return text
    return f"{text} [{number(one.interval.low)}, {number(one.interval.high)}]"


def _n(one: "Checked") -> str:
    """Return the items compared and, where there are any, those of one file only."""
    only = (one.n_only_baseline, "baseline"), (one.n_only_candidate, "candidate")
    return str(one.n) + "".join(f" (+{count} {name} only)" for count, name in only if count)


def _drop(one: "Checked") -> str:
    return (
        f"{number(one.baseline)} → {number(one.candidate)}, difference {_change(one)}, "
        f"Holm-adjusted p = {one.adjusted:.4f}, n = {_n(one)}"
    )


def _remedy(problems: "Sequence[Problem]") -> str:
    """Return how to exclude metrics: by id, or many of them by benchmark."""
    if any(problem.id == NOTHING for problem in problems):
        return "Give a baseline that has items, or other patterns"
    names = [problem.id for problem in problems]
    if len(names) > _NAMED:
        names = list(dict.fromkeys(problem.benchmark for problem in problems))
    excluded = " ".join(f"--exclude {name}" for name in names)
    return f"If this is intended, exclude with {excluded}, or select with --only"


def _legend(result: "GateResult") -> str:
    return (
        "One-sided paired tests; a metric drops if its Holm-adjusted p is at most "
        f"{result.options.alpha:g} and its difference is beyond its tolerance. "
        "MDE (minimum detectable effect): the drop detected with 80 % power."
    )


def _grouped(pairs: "Iterable[tuple[str, str]]") -> "list[tuple[str, list[str]]]":
    """Return the ids of (reason, id) pairs by reason."""
    found: dict[str, list[str]] = {}
    for reason, name in pairs:
        found.setdefault(reason, []).append(name)
    return list(found.items())


def _metrics(count: int) -> str:
    return f"{count} metric" if count == 1 else f"{count} metrics"


def _notes(result: "GateResult") -> list[tuple[str, list[str]]]:
    """Return why metrics have no minimum detectable effect, and which."""
    return _grouped((x.detectable.note, x.id) for x in result.checked if x.detectable.note)


def _some(names: "Sequence[str]") -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _command(kind: str, title: str, text: str) -> str:
    property_text = _data(title).replace(":", "%3A").replace(",", "%2C")
    return f"::{kind} title={property_text}::{_data(text)}"


def _data(text: str) -> str:
    return _plain(text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A"))


def _plain(text: str) -> str:
    """Return text without anything that moves a terminal's cursor or ends a line."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def _xml(text: str) -> str:
    return _NOT_IN_XML.sub("\ufffd", text)


def _md(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return _MARKDOWN.sub(r"\\\1", html.escape(_plain(" ".join(text.split())), quote=False))


def _md_row(cells: "Sequence[str]") -> str:
    return "| " + " | ".join(cells) + " |"
