r"""A report's tables as LaTeX (booktabs), and a document that \input's them and compiles as is."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from core.benchmarks import BENCHMARKS
from reports.document import MISSING, Cell, Report, Section, Table, TableRow, heading, words

if TYPE_CHECKING:
    from collections.abc import Sequence


DOCUMENT = "report.tex"
_TABLES = tomllib.loads((Path(__file__).parent / "latex_characters.toml").read_text("utf-8"))
_CHARACTERS, _ACCENTS, _GREEK = (_TABLES[name] for name in ("characters", "accents", "greek"))
_LONGEST_LINE = 36  # characters of a label or text cell on one line
_PARAGRAPH = 150  # characters of a text cell that gets a wide box

# Standard packages only. The box shrinks a table that is wider or taller than the page.
_PREAMBLE = r"""\documentclass[a4paper]{article}
\usepackage[landscape,margin=1.5cm]{geometry}
\usepackage{booktabs}
\usepackage{graphicx}
\usepackage{textcomp}
\setlength{\parindent}{0pt}
\setlength{\parskip}{4pt}
\begin{document}
"""
_HEAD = r"""% Needs \usepackage{booktabs,graphicx,textcomp}.
"""
_BEGIN = r"""\begin{table}[htbp]
\centering
\caption{%s}
\label{tab:%s}
\setbox0=\hbox{%%
"""
_SHRINK = r"""}%
\ifdim\wd0>\linewidth\setbox0=\hbox{\resizebox{\linewidth}{!}{\box0}}\fi
\dimen0=\ht0\advance\dimen0\dp0
\ifdim\dimen0>0.7\textheight\setbox0=\hbox{\resizebox*{!}{0.7\textheight}{\box0}}\fi
\leavevmode\box0
"""
_FIGURE = r"""\begin{figure}[htbp]
\centering
\includegraphics[width=\linewidth,height=0.6\textheight,keepaspectratio]{../figures/%s.pdf}
\caption{%s}
\label{fig:%s}
\end{figure}"""


def tables(report: Report) -> dict[str, str]:
    r"""Return, per table, the name of its file and its text; and report.tex, which \input's all.

    Whatever the texts hold is printed literally (see `escape`). A caption says which run, models,
    judge and items a table is of. report.tex includes the figures, PDF files in ../figures.
    """
    found = {
        f"{table.key}.tex": _table(table, _source(report, section, table))
        for section in report.sections
        for table in section.tables
    }
    lines = [f"{{\\Large {escape(report.title)}\\par}}"]
    lines += [f"{escape(name)}: {escape(value)}\\par" for name, value in report.facts]
    for section in report.sections:
        lines += _section(section)
    return {**found, DOCUMENT: _PREAMBLE + "\n".join(lines) + "\n\\end{document}\n"}


def _section(section: Section) -> list[str]:
    lines = ["\\clearpage", f"\\section*{{{escape(section.title)}}}"]
    lines += [f"{escape(paragraph)}\\par" for paragraph in section.paragraphs]
    for figure in section.figures:
        title = escape(heading(figure.title, figure.origin))
        lines.append(_FIGURE % (figure.key, title, _label(figure.key)))
    lines += [f"\\input{{{table.key}.tex}}" for table in section.tables]
    lines += [f"{escape(gap.text)}\\par" for gap in section.gaps]
    return lines


def _label(key: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", key.lower())


def _source(report: Report, section: Section, table: Table) -> str:
    """Return what a table is of: run, models, judge where one took part, and number of items."""
    facts = dict(report.facts)
    parts = [f"run {facts['run']}"] if "run" in facts else []
    rows = [row for row in table.rows if row.kind == "measured"]
    if table.head == "model" and rows:
        parts.append(f"models {', '.join(row.label for row in rows)}")
    benchmark = BENCHMARKS.get(section.key)
    if benchmark is not None and benchmark.judged and "judge" in facts:
        parts.append(f"judge {facts['judge']}")
    sizes = sorted({cell.n for row in rows for cell in row.cells if cell.n})
    if sizes:
        parts.append(f"n = {'–'.join(map(str, dict.fromkeys((sizes[0], sizes[-1]))))}")
    told = "; ".join(parts)
    return f" {told[0].upper()}{told[1:]}." if told else ""


def _table(table: Table, of: str) -> str:
    marks: dict[str, str] = {}
    published = [cell.published for row in table.rows for cell in row.cells]
    sources = {number.source for number in published if number is not None}
    source = sources.pop() if len(sources) == 1 else ""  # printed once, not in every cell
    label = _label(table.key)
    head = " & ".join(map(_wrapped, (table.head, *table.columns)))
    body = "\n".join(_lines(table.rows, marks, source))
    columns = "l" + "r" * len(table.columns)
    reasons = [f"{_mark(mark)}{escape(reason)}." for reason, mark in marks.items()]
    origin = [f"Published: {escape(source)}."] if source else []
    caption = escape(f"{heading(table.title, table.origin)}.{of}")
    return (
        _HEAD
        + _BEGIN % (caption, label)
        + f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{head} \\\\\n\\midrule\n"
        + f"{body}\n\\bottomrule\n\\end{{tabular}}"
        + _SHRINK
        + _notes(
            [*reasons, *origin, *map(escape, (*(gap.text for gap in table.gaps), *table.notes))]
        )
        + "\\end{table}\n"
    )


def _mark(letter: str) -> str:
    return f"\\textsuperscript{{{letter}}}"


def _letters(place: int) -> str:
    """Return a, b, ..., z, aa, ab, ...."""
    before, last = divmod(place, 26)
    return (_letters(before - 1) if before else "") + chr(ord("a") + last)


def _lines(rows: Sequence[TableRow], marks: dict[str, str], source: str) -> list[str]:
    """Return the body: each row a line; a rule where published rows begin or end.

    A reason for a missing number is a letter in the cell, which is added to `marks`.
    """
    lines = []
    kind = rows[0].kind if rows else ""
    for row in rows:
        if row.kind != kind:
            lines.append("\\midrule")
            kind = row.kind
        label = _wrapped(row.label)
        name = f"\\textit{{{label}}}" if row.kind == "published" else label
        lines.append(
            " & ".join([name, *(_cell(cell, marks, source) for cell in row.cells)]) + " \\\\"
        )
    return lines


def _cell(cell: Cell, marks: dict[str, str], source: str) -> str:
    """Return a cell: the number, and below it in small type interval, counts and published one.

    `source` is printed once below the table, not in every cell.
    """
    wording = words(cell)
    main = _wrapped(wording.main) if cell.text is not None else escape(wording.main)
    if wording.reason and wording.main == MISSING:
        main += _mark(marks.setdefault(wording.reason, _letters(len(marks))))
    small = [wording.interval, wording.counts]
    if wording.published:
        theirs = wording.published.removesuffix(f" ({source})") if source else wording.published
        small.append(f"published {theirs}")
    lines = [f"{{\\scriptsize {escape(part)}}}" for part in small if part]
    if not lines:
        return main
    body = r" \\ ".join([main, *lines])
    return f"\\begin{{tabular}}[t]{{@{{}}r@{{}}}}{body}\\end{{tabular}}"


def _wrapped(text: str) -> str:
    """Return a text, in a box of 5 cm if it is long, of 12 cm if it is a paragraph."""
    if len(text) <= _LONGEST_LINE:
        return escape(text)
    width = 12 if len(text) > _PARAGRAPH else 5
    return f"\\parbox[t]{{{width}cm}}{{\\raggedright\\strut {escape(text)}\\strut}}"


def _notes(notes: list[str]) -> str:
    if not notes:
        return ""
    return (
        "\\par\\smallskip\n\\begin{minipage}{\\linewidth}\\footnotesize\\raggedright\n"
        + "".join(f"{note}\\par\n" for note in notes)
        + "\\end{minipage}\n"
    )


def escape(text: str) -> str:
    """Return a text as LaTeX prints it literally; line ends become spaces.

    What the standard fonts cannot print (other scripts, emoji, control characters) stands there by
    its code point, as "[U+4E2D]": nothing is dropped without a trace.
    """
    line = " ".join(text.split())
    return "".join(map(_character, unicodedata.normalize("NFC", line)))


def _character(character: str) -> str:
    if character in _CHARACTERS:
        return str(_CHARACTERS[character])
    if " " <= character <= "\N{TILDE}":
        return character
    return _greek(character) or _accented(character) or f"{{[}}U+{ord(character):04X}{{]}}"


def _greek(character: str) -> str | None:
    kind, _, name = unicodedata.name(character, "").removeprefix("GREEK ").partition(" LETTER ")
    word = "lambda" if name == "LAMDA" else name.lower()  # as Unicode spells it
    word = word.capitalize() if kind == "CAPITAL" else word
    return f"$\\{word}$" if word in _GREEK.get(kind.lower(), ()) else None


def _accented(character: str) -> str | None:
    """Return a Latin letter with one accent as the accent's macro; None for anything else."""
    base, *marks = list(unicodedata.normalize("NFD", character))
    if len(marks) != 1 or marks[0] not in _ACCENTS or not (base.isascii() and base.isalpha()):
        return None
    macro = _ACCENTS[marks[0]]
    dotless = f"\\{base}" if base in "ij" and macro != "c" else base
    return f"\\{macro}{{{dotless}}}"
