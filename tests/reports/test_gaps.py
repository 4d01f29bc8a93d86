from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reports.build import write
from reports.document import Cell, Gap, Item, Report, RowGroup, Section, Table, TableRow
from reports.formats import html
from reports.gaps import without_gaps

if TYPE_CHECKING:
    from pathlib import Path

NO_SCORE, EMPTY = Cell(reason="no judgment has a score"), Cell()


def table(columns: tuple[str, ...], *rows: TableRow) -> Table:
    return Table("t", "MT-Bench", "model", columns, rows)


def shown(found: Table) -> Section:
    (section,) = without_gaps(Report("x", (), (Section("s", "s", tables=(found,)),))).sections
    return section


def test_a_column_without_a_number_is_a_sentence_with_its_reason() -> None:
    rows = (TableRow("M1", (Cell(1.0), NO_SCORE)), TableRow("M2", (Cell(2.0), NO_SCORE)))
    (found,) = shown(table(("length", "overall"), *rows)).tables
    assert found.columns == ("length",)
    assert [row.cells for row in found.rows] == [(Cell(1.0),), (Cell(2.0),)]
    assert found.gaps == (Gap("overall: no number, because no judgment has a score."),)


def test_a_table_without_a_number_is_one_sentence_even_with_words_in_it() -> None:
    section = shown(table(("value", "limit"), TableRow("parse rate", (NO_SCORE, Cell(text="≥ 1")))))
    assert section.tables == ()
    assert section.gaps == (Gap("MT-Bench: no number, because no judgment has a score."),)


def test_a_row_without_a_number_leaves_the_table_and_others_keep_their_dashes() -> None:
    rows = (
        TableRow("M0", (NO_SCORE, EMPTY)),
        TableRow("M1", (Cell(1.0), NO_SCORE)),
        TableRow("M2", (Cell(1.0), Cell(2.0))),
    )
    (found,) = shown(table(("a", "b"), *rows)).tables
    assert [row.label for row in found.rows] == ["M1", "M2"]
    assert found.rows[0].cells == (Cell(1.0), NO_SCORE)
    assert found.gaps == (Gap("M0: no number, because no judgment has a score."),)


def test_what_is_empty_on_purpose_or_holds_words_stays() -> None:
    rows = (TableRow("M0", (EMPTY, Cell(text="kept"))), TableRow("M1", (Cell(0.0), EMPTY)))
    whole = table(("a", "b"), *rows)
    assert shown(whole).tables == (whole,)
    only_words = table(("a",), TableRow("M0", (Cell(text="x"),)), TableRow("M1", (NO_SCORE,)))
    assert [row.label for row in shown(only_words).tables[0].rows] == ["M0"]


def test_gaps_for_the_same_reason_share_a_sentence_and_long_lists_are_cut() -> None:
    rows = [TableRow(f"M{k}", (Cell(reason="undefined for these scores"),)) for k in range(8)]
    (found,) = shown(table(("a",), *rows, TableRow("M9", (Cell(1.0),)))).tables
    assert [gap.text for gap in found.gaps] == [
        "M0, M1, M2, M3, M4, M5 and 2 more: no number, because it is undefined for these scores."
    ]
    with_commas = [TableRow(f"M{k}, strict", (Cell(reason="failed: 429"),)) for k in range(2)]
    (found,) = shown(table(("a",), *with_commas, TableRow("M9", (Cell(1.0),)))).tables
    assert found.gaps[0].text == "M0, strict; M1, strict: no number, because it failed: 429."


def test_the_files_of_a_gap_lead_to_its_rows_and_keep_its_cells(tmp_path: Path) -> None:
    group = RowGroup("g", "What M1 was judged", ("item",), (Item("i", ("<b>",)),), 1, "eval/x")
    cells = (Cell(1.0), Cell(reason="no <b>judgment</b> has a score", rows="g"))
    found = table(("a", "b"), TableRow("M1", cells))
    report = Report("x", (), (Section("s", "s", tables=(found,)),), {"g": group})
    write(report, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "b: no number, because no &lt;b&gt;judgment&lt;/b&gt; has a score." in page
    assert 'data-rows="g" aria-haspopup' in page
    assert "b: no number, because no &lt;b&gt;judgment" in (tmp_path / "report.md").read_text()
    assert "b: no number" in (tmp_path / "latex" / "t.tex").read_text()
    assert "M1,b,,,,,0,no <b>judgment</b> has a score" in (tmp_path / "tables/t.csv").read_text()


def test_a_gap_that_names_unknown_rows_is_refused() -> None:
    section = Section("s", "s", gaps=(Gap("no number", ("nowhere",)),))
    with pytest.raises(ValueError, match="'s': a gap names the row group 'nowhere'"):
        html.render(Report("x", (), (section,)))
