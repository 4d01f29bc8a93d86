from __future__ import annotations

import html
import re

from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from reports.document import Cell, Figure, Published, Report, Section, Table, TableRow
from reports.formats.markdown import escape, render

HOSTILE = (
    "a|b \\| <script>alert(1)</script> &amp; & *x* _y_ `z` ~~s~~ $m$ # @all "
    "[link](http://e.vil) ![i](x) https://e.vil <!-- c -->"
)


def read_back(markdown: str) -> str:
    """Return what a reader sees: CommonMark with GitHub's tables, tags taken out."""
    rendered = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown)
    return html.unescape(re.sub(r"<!--.*?-->|<[^>]*>", "", rendered)).strip()


def report(*rows: TableRow, columns: tuple[str, ...] = ("value",), **table: object) -> Report:
    found = Table("t", "Title", "model", columns, rows, **table)  # type: ignore[arg-type]
    return Report("Run", (), (Section("s", "Part", tables=(found,)),))


def line_of(text: str, label: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(f"| {label} |"))


def test_a_number_has_its_interval_n_what_is_missing_and_what_was_published() -> None:
    cell = Cell(
        value=9.876, low=8, high=11, n=20, missing=1, published=Published(9.9, "Table 1"), digits=1
    )

    line = line_of(render(report(TableRow("M1", (cell,)))), "M1")

    assert line == "| M1 | 9.9 [8.0, 11.0] (n=20, 1 missing)<br>published: 9.9 (Table 1) |"


def test_a_missing_number_is_a_dash_with_its_reason_and_never_0() -> None:
    rows = (
        TableRow("a", (Cell(reason="failed: time-out"),)),
        TableRow("b", (Cell(reason="no grade", n=0, missing=5),)),
        TableRow("c", (Cell(),)),
        TableRow("d", (Cell(value=0.0),)),
    )
    text = render(report(*rows))

    assert line_of(text, "a") == "| a | – (failed: time-out) |"
    assert line_of(text, "b") == "| b | – (n=0, 5 missing; no grade) |"
    assert line_of(text, "c") == "| c |  |"
    assert line_of(text, "d") == "| d | 0.00 |"


def test_a_missing_number_may_have_a_published_one_beside_it() -> None:
    cell = Cell(reason="not trained", digits=1, published=Published(66, "Figure 5"))

    line = line_of(render(report(TableRow("M3", (cell,)))), "M3")

    assert line == "| M3 | – (not trained)<br>published: 66.0 (Figure 5) |"


def test_negative_numbers_have_a_real_minus_sign() -> None:
    cell = Cell(value=-1.5, low=-2, high=-0.001)

    assert "| −1.50 [−2.00, 0.00] |" in render(report(TableRow("x", (cell,))))


def test_published_rows_are_set_apart() -> None:
    row = TableRow("Claude 2", (Cell(value=17.19),), kind="published")

    assert "| *Claude 2* (published) | 17.19 |" in render(report(row))


def test_titles_name_the_papers_table_and_notes_stand_below() -> None:
    text = render(report(TableRow("x", (Cell(),)), origin="Table 1", notes=("one", "two")))

    assert "### Title (Table 1)\n" in text
    assert text.endswith("\n\n- one\n- two\n")


def test_a_report_has_title_facts_paragraphs_and_figures() -> None:
    figure = Figure("wins", "Wins", "<svg/>", "Bars of wins", origin="Figure 3")
    found = Report(
        "Run <x>", (("seed", "0"),), (Section("s", "Part", ("Words.",), figures=(figure,)),)
    )

    assert render(found) == (
        "# Run &lt;x&gt;\n\n- seed: 0\n\n## Part\n\nWords.\n\n"
        "![Bars of wins](figures/wins.svg)\n\n*Wins (Figure 3)*\n"
    )


def test_hostile_words_stand_in_a_cell_as_they_are_and_break_no_column() -> None:
    row = TableRow(HOSTILE, (Cell(text=HOSTILE), Cell(reason=HOSTILE)))
    text = render(report(row, columns=("a", "b")))
    body = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text)

    assert body.count("<td") == 3
    assert "<script" not in body and "<a " not in body and "<img" not in body
    assert read_back(text).count("<script>alert(1)</script>") == 3


def test_a_line_end_in_a_text_ends_no_row() -> None:
    row = TableRow("a\nb\r\n\nc", (Cell(text="x\u2028y\tz"),))

    assert "| a b c | x y z |" in render(report(row))


def test_characters_that_turn_text_around_are_shown_as_unknown() -> None:
    assert escape("a\u202eb\x1b[0m") == "a\ufffdb\ufffd\\[0m"


@given(st.text())
def test_whatever_a_text_holds_is_what_a_reader_sees(text: str) -> None:
    plain = " ".join(text.split())
    expected = "".join(c if c.isprintable() else "\ufffd" for c in plain)

    assert read_back(escape(text)) == expected


@given(st.text())
@example("a | b")
def test_in_a_table_too(text: str) -> None:
    out = render(report(TableRow("row", (Cell(text=text),))))
    cells = re.findall(r"<td[^>]*>(.*?)</td>", MarkdownIt("commonmark").enable("table").render(out))
    plain = " ".join(text.split())
    expected = "".join(c if c.isprintable() else "\ufffd" for c in plain)

    assert len(cells) == 2
    assert html.unescape(re.sub(r"<!--.*?-->", "", cells[1])) == expected


def test_the_same_report_gives_the_same_text() -> None:
    found = report(TableRow("x", (Cell(value=1.0),)))

    assert render(found) == render(found)


def test_a_table_without_rows_is_its_head() -> None:
    assert "| model | value |\n|---|---:|\n" in render(report())
