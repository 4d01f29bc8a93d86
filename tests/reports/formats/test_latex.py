from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.document import Cell, Figure, Published, Report, Section, Table, TableRow
from reports.formats import latex
from reports.formats.latex import escape
from reports.formats.plotting import render

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

HOSTILE = (
    "100% & #1 _x_ $y$ {z} ~ ^ \\input{/etc/passwd} \\end{document} <script>alert(1)</script> | ` "
    "' \" -- --- ?` !` [a] * 😀 中文 עברית é ő ñ ŧ Ж − τ ρ Σ → ≤ – \u202e \x00 \x1b \\\\"
)


def _bar(canvas: Canvas) -> None:
    canvas.add_subplot().barh([0], [1])


@cache
def _pdf() -> bytes:
    return render("wins", _bar, title="Wins", description="", height=1).pdf


def report(*tables: Table, title: str = "Run") -> Report:
    figure = Figure("wins", "Wins", "<svg/>", "Bars", origin="Figure 3", pdf=_pdf())
    return Report(title, (("seed", "0"),), (Section("s", "Part", ("Words.",), (figure,), tables),))


def table(
    *rows: TableRow,
    key: str = "t",
    columns: tuple[str, ...] = ("value",),
    origin: str = "",
    notes: tuple[str, ...] = (),
) -> Table:
    return Table(key, "Title", "model", columns, rows, origin, notes)


def text_of(*rows: TableRow, columns: tuple[str, ...] = ("value",)) -> str:
    return latex.tables(report(table(*rows, columns=columns)))["t.tex"]


def test_a_number_has_its_interval_n_what_is_missing_and_what_was_published() -> None:
    published = Published(9.94, "Table 1")
    cell = Cell(value=9.876, low=-8, high=11, n=20, missing=1, published=published)
    other = Cell(value=1, published=Published(2, "Table 4"))

    text = text_of(TableRow("M1", (cell, other)), columns=("a", "b"))

    assert r"9.88 \\ {\scriptsize {[}$-$8.00,{} 11.00{]}}" in text
    assert r"{\scriptsize n=20,{} 1 missing} \\ {\scriptsize published 9.94 (Table 1)}" in text


def test_a_source_that_all_published_numbers_share_is_said_once() -> None:
    cells = tuple(Cell(value=1, published=Published(2, "Table 1")) for _ in range(2))

    text = text_of(TableRow("M1", cells), columns=("a", "b"))

    assert text.count("published 2.00}") == 2
    assert text.count("Table 1") == 1
    assert r"Published: Table 1.\par" in text


def test_a_missing_number_is_a_dash_whose_reason_stands_below() -> None:
    rows = (
        TableRow("a", (Cell(reason="failed"),)),
        TableRow("b", (Cell(reason="not trained"),)),
        TableRow("c", (Cell(reason="failed"),)),
        TableRow("d", (Cell(),)),
    )
    text = text_of(*rows)

    assert text.count(r"\textendash{}\textsuperscript{a}") == 2
    assert text.count(r"\textendash{}\textsuperscript{b}") == 1
    assert r"\textsuperscript{a}failed.\par" in text
    assert r"\textsuperscript{b}not trained.\par" in text
    assert "d &  \\\\" in text
    assert "0.00" not in text


def test_more_reasons_than_letters_get_two_letters() -> None:
    rows = tuple(TableRow(str(k), (Cell(reason=f"r{k}"),)) for k in range(28))
    text = text_of(*rows)

    for letter, k in (("z", 25), ("aa", 26), ("ab", 27)):
        assert rf"\textsuperscript{{{letter}}}r{k}.\par" in text


def test_published_rows_stand_apart_behind_a_rule() -> None:
    rows = (
        TableRow("M1", (Cell(value=1),)),
        TableRow("GPT", (Cell(value=2),), kind="published"),
    )
    assert "M1 & 1.00 \\\\\n\\midrule\n\\textit{GPT} & 2.00 \\\\\n\\bottomrule" in text_of(*rows)


def test_the_document_inputs_every_table_and_includes_every_figure() -> None:
    found = latex.tables(report(table(key="one"), table(key="two")))

    assert list(found) == ["one.tex", "two.tex", "report.tex"]
    assert re.findall(r"\\input\{(.*?)\}", found["report.tex"]) == ["one.tex", "two.tex"]
    assert re.findall(r"\{\.\./(figures/.*?)\}", found["report.tex"]) == ["figures/wins.pdf"]
    assert r"\caption{Wins (Figure 3)}" in found["report.tex"]


def test_a_caption_names_run_models_items_and_the_judge_of_judged_benchmarks_alone() -> None:
    rows = (
        TableRow("M1", (Cell(value=1, n=8), Cell(value=1, n=20))),
        TableRow("GPT", (Cell(value=2, n=805), Cell()), kind="published"),
    )
    facts = (("run", "first"), ("judge", "gpt-4.1"))

    def caption(key: str) -> str:
        section = Section(key, "Part", tables=(table(*rows, columns=("a", "b")),))
        text = latex.tables(Report("x", facts, (section,)))["t.tex"].replace("{}", "")
        return text.partition(r"\caption{")[2].partition("}\n")[0]

    assert caption("mt_bench") == "Title. Run first; models M1; judge gpt-4.1; n = 8\\textendash20."
    assert caption("nlp") == "Title. Run first; models M1; n = 8\\textendash20."


def test_every_character_that_means_something_to_tex_is_escaped() -> None:
    assert escape("%") == r"\%"
    assert escape("a_b & c#d") == r"a\_b \& c\#d"
    assert escape(r"\{}") == r"\textbackslash{}\{\}"
    assert escape("~^$") == r"\textasciitilde{}\textasciicircum{}\$"
    assert escape("a--b") == "a-{}-{}b"


def test_the_signs_of_our_tables_are_macros() -> None:
    assert escape("−") == "$-$"
    assert escape("τρσ") == r"$\tau$$\rho$$\sigma$"
    assert escape("→ ≤ –") == r"$\rightarrow$ $\leq$ \textendash{}"
    assert escape("λΔ") == r"$\lambda$$\Delta$"
    assert escape("é ő ñ ï ç") == r"\'{e} \H{o} \~{n} \"{\i} \c{c}"


def test_what_the_fonts_lack_stands_there_by_its_code_point() -> None:
    assert escape("中") == "{[}U+4E2D{]}"
    assert escape("😀") == "{[}U+1F600{]}"
    assert escape("\u202e") == "{[}U+202E{]}"


@given(st.text())
def test_any_text_becomes_ascii_on_one_line_with_balanced_braces(text: str) -> None:
    found = escape(text)
    plain = found.replace(r"\{", "").replace(r"\}", "")

    assert found.isascii() and found.isprintable()
    assert plain.count("{") == plain.count("}")
    assert found.count("$") - found.count(r"\$") == 2 * len(re.findall(r"(?<!\\)\$[^$]+\$", found))


def test_the_same_report_gives_the_same_files() -> None:
    found = report(table(TableRow("x", (Cell(reason="y"),))))

    assert latex.tables(found) == latex.tables(found)


def compile_in(folder: Path, found: Report) -> str:
    """Run pdflatex as a reader would; return its log, fail with its last lines."""
    program = shutil.which("pdflatex")
    if program is None:
        pytest.skip("no pdflatex; apt-get install texlive-latex-recommended")
    for name, text in latex.tables(found).items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder.parent / "figures").mkdir(exist_ok=True)
    for figure in found.figures:
        (folder.parent / "figures" / f"{figure.key}.pdf").write_bytes(figure.pdf)
    command = [program, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape"]
    done = subprocess.run(
        [*command, latex.DOCUMENT],
        cwd=folder,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert (folder / "report.pdf").stat().st_size > 1000
    return done.stdout


def test_hostile_texts_everywhere_compile(tmp_path: Path) -> None:
    published = Published(2, HOSTILE)
    rows = (
        TableRow(HOSTILE, (Cell(text=HOSTILE), Cell(value=-1.5, n=7, published=published))),
        TableRow("[opt", (Cell(reason=HOSTILE), Cell())),
        TableRow(HOSTILE, (Cell(value=1), Cell()), kind="published"),
    )
    found = Table("h_1", HOSTILE, HOSTILE, (HOSTILE, "n"), rows, "Table 1", (HOSTILE,))

    compile_in(tmp_path, report(found, table(key="empty"), title=HOSTILE))


def test_every_character_up_to_the_end_of_the_greek_block_compiles(tmp_path: Path) -> None:
    each = tuple("".join(map(chr, range(start, start + 32))) for start in range(0, 0x400, 32))

    compile_in(tmp_path, report(table(TableRow("x", (Cell(),)), notes=each)))


def test_a_table_larger_than_the_page_is_shrunk_onto_it(tmp_path: Path) -> None:
    cell = Cell(value=9.1, low=8, high=9.9, n=20, missing=1, published=Published(9, "Table 2"))
    columns = tuple(f"column {k}" for k in range(14))
    rows = tuple(TableRow(f"M{k}", (cell,) * 14) for k in range(40))

    log = compile_in(tmp_path, report(table(*rows, columns=columns)))

    assert "Float too large" not in log
    assert "Overfull \\hbox" not in log


def test_paragraphs_in_cells_stay_within_the_line(tmp_path: Path) -> None:
    words = "the model answered with plain words of ordinary length " * 10
    rows = (TableRow("M1", (Cell(text=words), Cell(text="no"))),)

    log = compile_in(tmp_path, report(table(*rows, columns=("text", "followed"))))

    assert "Overfull \\hbox" not in log
