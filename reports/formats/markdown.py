"""A report as Markdown, as GitHub shows it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from reports.document import Cell, Report, Table, heading, words

if TYPE_CHECKING:
    from collections.abc import Iterator


# What Markdown or HTML would read as markup, replaced in one pass.
_SPECIAL = re.compile(r"[\\`*_\[\]#|~$@&<>]")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;", "|": "&#124;"}
_LINE_START = re.compile(r"^(?:(\d+)\.(?=\s|$)|([-+=])(?=\s|$|[-=]))")  # lists, rules, headings
_SPACES = re.compile(r"\s+")
_ADDRESS = re.compile(r"(?i)\b(https?|ftp|www)(:|\.)")


def render(report: Report) -> str:
    """Return the report's text: a heading, facts, and each section's text, figures and tables.

    Figures are links to figures/<key>.svg beside the file. Whatever the texts hold stands there as
    text: pipes, backslashes, HTML and Markdown are escaped, line ends become spaces.
    """
    blocks = [f"# {escape(report.title)}"]
    if report.facts:
        facts = "\n".join(f"- {escape(name)}: {escape(value)}" for name, value in report.facts)
        blocks.append(facts)
    for section in report.sections:
        blocks += [f"## {escape(section.title)}", *map(escape, section.paragraphs)]
        for figure in section.figures:
            blocks.append(f"![{escape(figure.description)}](figures/{figure.key}.svg)")
            blocks.append(f"*{escape(heading(figure.title, figure.origin))}*")
            blocks += _notes(figure.notes)
        for table in section.tables:
            blocks += _table(table)
        blocks += [escape(gap.text) for gap in section.gaps]
    return "\n\n".join(blocks) + "\n"


def escape(text: str) -> str:
    """Return a text such that GitHub's Markdown prints it as it is, on one line."""
    line = _SPACES.sub(" ", text).strip()
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
    line = _SPECIAL.sub(lambda m: _ENTITIES.get(m[0], f"\\{m[0]}"), line)
    line = _ADDRESS.sub(lambda m: f"{m[1]}<!-- -->{m[2]}", line)  # no link that nobody wrote
    return _LINE_START.sub(lambda m: f"{m[1]}\\." if m[1] else f"\\{m[2]}", line)


def _table(table: Table) -> Iterator[str]:
    yield f"### {escape(heading(table.title, table.origin))}"
    lines = [_line([escape(table.head), *map(escape, table.columns)])]
    lines.append("|" + "|".join(["---", *["---:"] * len(table.columns)]) + "|")
    for row in table.rows:
        name = escape(row.label)
        label = f"*{name}* (published)" if row.kind == "published" else name
        lines.append(_line([label, *map(_cell, row.cells)]))
    yield "\n".join(lines)
    yield from _notes((*(gap.text for gap in table.gaps), *table.notes))


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: Cell) -> str:
    """Return a cell: value, interval and counts, then the published number on a line of its own."""
    wording = words(cell)
    brackets = "; ".join(part for part in (wording.counts, escape(wording.reason)) if part)
    parts = [escape(wording.main), wording.interval, f"({brackets})" if brackets else ""]
    line = " ".join(part for part in parts if part)
    beside = f"<br>published: {escape(wording.published)}" if wording.published else ""
    return line + beside


def _notes(notes: tuple[str, ...]) -> Iterator[str]:
    if notes:
        yield "\n".join(f"- {escape(note)}" for note in notes)
