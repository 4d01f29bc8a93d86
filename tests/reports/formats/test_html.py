from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from core.stages import project_root
from reports.document import Cell, Item, Published, Report, RowGroup, Section, Table, TableRow
from reports.formats.html import render
from tests.reports.documents import ALPACA_ROWS, HOSTILE, HOSTILE_ROWS, WHY_FAILED, report

VOID = {"meta", "link", "img", "input", "br"}
BLOCKS = {"n", "paper", "gap"}  # classes that stand on a line of their own


class Page(HTMLParser):
    """A page as a browser's parser cuts it: every element's attributes, own text, whole text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[tuple[str, list[str]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        inside: list[str] = []
        self.elements.append((tag, dict(attrs), inside))
        if tag == "td" or dict(attrs).get("class") in BLOCKS:
            self.handle_data(" ")
        if tag not in VOID:
            self._open.append((tag, inside))

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open[-1][0] == tag, f"</{tag}> does not close what is open"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for _, inside in self._open:
            inside.append(data)

    def find(self, tag: str, **wanted: str) -> list[tuple[dict[str, str | None], str]]:
        """Return attributes and whole text of the elements with these attributes."""
        names = {name.rstrip("_").replace("_", "-"): value for name, value in wanted.items()}
        return [
            (attributes, "".join(inside))
            for found, attributes, inside in self.elements
            if found == tag and all(attributes.get(key) == value for key, value in names.items())
        ]


def one_table(*cells: Cell, kind: Any = "measured", **options: Any) -> Report:
    """Return a report of one table with one row, "row", whose columns are a, b, c, ..."""
    columns = tuple("abcdefgh"[: len(cells)])
    table = Table("t", "A table", "head", columns, (TableRow("row", cells, kind),), **options)
    return Report("r", (), (Section("s", "S", tables=(table,)),))


def words(text: str) -> str:
    return " ".join(text.split())


def cells_of(document: Report) -> list[str]:
    """Return the words in each cell of the only table."""
    return [words(text) for _, text in Page(render(document)).find("td")]


def unpacked(text: str, key: str) -> Any:
    [(_, packed)] = Page(text).find("script", data_rows=key)
    return json.loads(gzip.decompress(base64.b64decode(packed)))


def test_a_number_stands_with_interval_n_missing_and_the_published_value() -> None:
    cell = Cell(9.936, low=-1.5, high=12.3, n=1805, missing=3, published=Published(9.94, "Table 1"))
    assert cells_of(one_table(cell)) == [
        "9.94, 95 % interval [−1.50, 12.30] n 1,805, 3 missing paper 9.94, Table 1"
    ]


def test_a_zero_is_a_number_and_a_gap_is_not() -> None:
    assert cells_of(one_table(Cell(0.0, n=4), Cell(reason="no item parsed"), Cell())) == [
        "0.00 n 4",
        "– missing: no item parsed",
        "",
    ]


def test_a_gap_counts_what_is_missing_and_keeps_its_published_value() -> None:
    cell = Cell(n=0, missing=160, reason="none parsed", published=Published(7.25, "Table 2"))
    [shown] = cells_of(one_table(cell))
    assert shown.startswith("– missing: none parsed")
    assert "n 0, 160 missing" in shown
    assert shown.endswith("paper 7.25, Table 2")


def test_a_long_reason_is_cut_in_the_cell_and_whole_when_opened_and_as_title() -> None:
    page = Page(render(one_table(Cell(reason=WHY_FAILED), Cell(1.0))))
    [(_, short)] = page.find("summary")
    assert short == "failed: the judge at https://judge.example…"
    assert len(short) <= 44
    [(_, whole)] = page.find("details", class_="why")
    assert whole == short + WHY_FAILED
    [(attributes, _)] = page.find("div", class_="gap")
    assert attributes["title"] == WHY_FAILED


def test_a_row_without_any_number_says_its_one_reason_once() -> None:
    gap = Cell(reason="M3 is not trained yet")
    page = Page(render(one_table(gap, gap, gap)))
    [(attributes, text)] = page.find("td")
    assert attributes["colspan"] == "3"
    assert words(text) == "– missing: M3 is not trained yet"


@pytest.mark.parametrize(
    "other",
    [Cell(reason="another"), Cell(1.0), Cell(), Cell(reason="same", published=Published(1, "T"))],
)
def test_cells_that_differ_are_never_joined(other: Cell) -> None:
    assert len(cells_of(one_table(Cell(reason="same"), other, Cell(reason="same")))) == 3


def test_published_rows_carry_the_word_and_several_have_a_heading() -> None:
    [alone] = Page(render(one_table(Cell(1.0), kind="published"))).find("tbody")
    assert alone[0]["class"] == "published"
    assert words(alone[1]) == "row published 1.00"
    page = Page(render(report()))
    [(_, heading)] = page.find("tr", class_="heading")
    assert heading == "published"
    assert len(page.find("tbody", class_="published several")) == 1


def test_each_table_has_its_origin_and_notes() -> None:
    page = Page(render(one_table(Cell(1.0), origin="Table 4", notes=("a limit", "another"))))
    assert [text for _, text in page.find("h3")] == ["A table the paper’s Table 4"]
    assert [words(text) for _, text in page.find("ul", class_="notes")] == ["a limit another"]


def test_words_of_strangers_make_no_element_and_no_attribute() -> None:
    text = render(report())
    page = Page(text)  # fails itself if any element is closed by another's end
    tags = [tag for tag, _, _ in page.elements]
    # One script that runs; each row group and the artifacts in tags of a type that no browser runs.
    assert tags.count("script") == 1 + len(report().groups) + 1
    kinds = {attributes.get("type") for attributes, _ in page.find("script")}
    assert kinds == {None, "application/json+gzip"}
    assert tags.count("img") == 0
    assert tags.count("style") == 1
    handlers = [n for _, found, _ in page.elements for n in found if n.startswith("on")]
    assert handlers == []
    for hostile in HOSTILE[:6]:
        assert words(hostile) in [words(text) for _, text in page.find("p", class_="prose")]


def test_what_a_page_cannot_hold_is_replaced_and_the_page_can_be_written() -> None:
    text = render(one_table(Cell(text="half \ud83d, bell \x07, nul \x00, tab\t.")))
    assert "half \ufffd, bell \ufffd, nul \ufffd, tab\t." in text
    text.encode()


def test_nothing_in_the_page_leads_to_a_network() -> None:
    found = [
        (name, value)
        for _, attributes, _ in Page(render(report())).elements
        for name, value in attributes.items()
        if name in {"src", "href", "action", "srcset", "data", "xlink:href"} and value is not None
    ]
    assert found
    assert [pair for pair in found if not pair[1].startswith(("#", "data:,"))] == []


def test_the_policy_allows_exactly_the_script_that_is_there() -> None:
    page = Page(render(report()))
    [(attributes, _)] = page.find("meta", http_equiv="Content-Security-Policy")
    [script] = [text for found, text in page.find("script") if "type" not in found]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert attributes["content"] == (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def test_the_rows_behind_a_number_come_back_as_they_were() -> None:
    group = report().groups[HOSTILE_ROWS]
    found = unpacked(render(report()), HOSTILE_ROWS)
    assert (found["title"], found["total"], found["artifact"]) == (HOSTILE[1], 7, "nowhere/made")
    assert found["items"] == [
        [item.key, list(item.cells), [list(part) for part in item.parts],
         [[link.label, link.group, link.row] for link in item.links]]
        for item in group.items
    ]  # fmt: skip


def test_the_same_report_gives_the_same_bytes_and_another_does_not() -> None:
    first = render(report())
    assert render(report()) == first
    assert render(replace(report(), title="other")) != first
    [(_, packed)] = Page(first).find("script", data_rows=ALPACA_ROWS)
    assert base64.b64decode(packed)[4:8] == bytes(4)  # gzip's time stamp


def test_a_number_whose_rows_are_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"table 't', row 'row': a cell names .* 'gone'"):
        render(one_table(Cell(1.0, rows="gone")))


def test_an_empty_report_is_a_page() -> None:
    page = Page(render(Report("nothing", (), ())))
    assert [text for _, text in page.find("h1")] == ["nothing"]
    assert page.find("table") == []


def luminance(colour: str) -> float:
    """Return WCAG's relative luminance of #rrggbb."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_every_text_colour_has_a_contrast_of_at_least_4_5_in_light_and_dark() -> None:
    style = (project_root() / "reports/formats/templates/report.css").read_text()
    themes = [
        dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", block))
        for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)[:2]
    ]
    assert len(themes) == 2
    for theme in themes:
        for ink in ("ink", "quiet", "accent", "paper", "gap"):
            for ground in ("page", "raised", "wash"):
                pair = sorted((luminance(theme[ink]), luminance(theme[ground])))
                contrast = (pair[1] + 0.05) / (pair[0] + 0.05)
                assert contrast >= 4.5, (ink, ground, contrast)


def many_rows(items: int) -> Report:
    """Return a report of one number with this many rows of about 290 bytes behind it."""
    rows = tuple(
        Item(
            key=f"item/{at}",
            cells=(f"question {at}", "right" if at % 3 else "wrong", f"{at % 997 / 997:.3f}"),
            parts=(
                ("Prompt", f"What follows {at}, {at * 7919 % 100003}? " * 3),
                ("Answer", f"It is {at + 1}: {hashlib.sha256(str(at).encode()).hexdigest()}"),
            ),
        )
        for at in range(items)
    )
    group = RowGroup("g", "Items", ("Question", "Outcome", "Score"), rows, items, "eval/M1/items")
    made = one_table(Cell(1.0, n=items, rows="g"))
    return replace(made, groups={"g": group})


def test_rows_are_packed_to_a_fraction_of_their_size() -> None:
    # Seconds and memory: benchmarks/report_at_scale.py.
    made = many_rows(5_000)
    plain = sum(len(text) for item in made.groups["g"].items for _, text in item.parts)
    empty = len(render(one_table(Cell(1.0))))
    # A quarter of each row is a digest, which does not pack, and base64 adds a third.
    assert len(render(made)) - empty < 0.6 * plain
