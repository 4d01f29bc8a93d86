from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.document import Cell, Published, Report, Section, Table, TableRow
from reports.formats.csv_files import HEADER, tables


def report(*rows: TableRow, columns: tuple[str, ...] = ("value",), key: str = "t") -> Report:
    found = Table(key, "Title", "model", columns, rows)
    return Report("Run", (), (Section("s", "Part", tables=(found,)),))


def lines(*rows: TableRow, columns: tuple[str, ...] = ("value",)) -> list[dict[str, str]]:
    text = tables(report(*rows, columns=columns))["t.csv"]
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_a_cell_is_a_line_at_full_precision() -> None:
    cell = Cell(
        value=1 / 3, low=0.1, high=0.9, n=3, missing=2, published=Published(9.94, "Table 1")
    )

    assert lines(TableRow("M1", (cell,))) == [
        {
            "row": "M1",
            "column": "value",
            "value": "0.3333333333333333",
            "low": "0.1",
            "high": "0.9",
            "n": "3",
            "missing": "2",
            "reason": "",
            "published": "9.94",
            "published_source": "Table 1",
            "text": "",
            "kind": "measured",
        }
    ]


def test_the_value_is_not_rounded_to_the_digits_that_are_printed() -> None:
    assert lines(TableRow("x", (Cell(value=1234.56789, digits=0),)))[0]["value"] == "1234.56789"


def test_a_missing_number_is_an_empty_field_with_its_reason_and_never_0() -> None:
    (line,) = lines(TableRow("x", (Cell(reason="failed: time-out", n=0, missing=4),)))

    assert (line["value"], line["low"], line["n"], line["missing"]) == ("", "", "0", "4")
    assert line["reason"] == "failed: time-out"


def test_0_is_a_number() -> None:
    assert lines(TableRow("x", (Cell(value=0, n=1),)))[0]["value"] == "0.0"


def test_rows_and_columns_stay_in_their_order() -> None:
    rows = [TableRow(name, (Cell(value=1), Cell(text="words"))) for name in ("M0", "M1")]
    found = lines(*rows, columns=("a", "b"))

    assert [(line["row"], line["column"]) for line in found] == [
        ("M0", "a"), ("M0", "b"), ("M1", "a"), ("M1", "b"),
    ]  # fmt: skip
    assert [line["text"] for line in found] == ["", "words"] * 2


def test_published_rows_say_that_they_are() -> None:
    assert lines(TableRow("x", (Cell(value=1),), kind="published"))[0]["kind"] == "published"


def test_a_file_per_table_under_its_key() -> None:
    assert list(tables(report(key="mt_bench"))) == ["mt_bench.csv"]
    assert tables(report())["t.csv"] == ",".join(HEADER) + "\n"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\n"])
def test_a_text_that_a_spreadsheet_would_run_is_text(start: str) -> None:
    row = TableRow(f"{start}cmd()", (Cell(text=f"{start}x"), Cell(reason=f"{start}y")))
    found = lines(row, columns=("a", "b"))

    assert found[0]["row"] == f"'{start}cmd()"
    assert found[0]["text"] == f"'{start}x"
    assert found[1]["reason"] == f"'{start}y"


def test_negative_numbers_stay_numbers() -> None:
    assert lines(TableRow("x", (Cell(value=-2.6, low=-3, high=-1),)))[0]["value"] == "-2.6"


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0")))
def test_any_text_comes_back(text: str) -> None:
    (line,) = lines(TableRow("x", (Cell(text=text),)))

    expected = text.replace("\r\n", "\n").replace("\r", "\n")
    assert line["text"] in (expected, f"'{expected}")


def test_a_carriage_return_in_a_text_ends_no_line() -> None:
    row = TableRow("a\rb", (Cell(text="c\r\nd"), Cell(reason="\re")))
    found = lines(row, columns=("one", "two"))

    assert [(line["row"], line["text"], line["reason"]) for line in found] == [
        ("a\nb", "c\nd", ""), ("a\nb", "", "'\ne"),
    ]  # fmt: skip


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_number_comes_back_bit_for_bit(value: float) -> None:
    assert float(lines(TableRow("x", (Cell(value=value),)))[0]["value"]) == value
