"""A benchmark of right or wrong items is viewable by one line, with parts or without."""

from __future__ import annotations

from pathlib import Path

from fastapi.testclient import TestClient

from core.records import ItemScore
from core.stages import Stage, evaluation_ref
from tests.reports.runs import RunBuilder
from tests.web.explorer.made import EVALUATION, Markup, reader
from web.explorer import pages as ui
from web.explorer.source import Source
from web.explorer.views import items


def test_a_benchmark_without_parts_has_a_list_and_a_page_per_item(tmp_path: Path) -> None:
    built = RunBuilder(tmp_path / "run")
    built.config(run="run", iterations=2, evaluation=EVALUATION)
    detail = {"prompt": "Say hi.", "text": "hi", "instructions": [{"id": "case", "strict": True}]}
    rows = [
        ItemScore("7", "ifeval", "7", {"strict": 1.0}, detail),
        ItemScore("8", "ifeval", "8", {}, {"prompt": "Go.", "text": "", "missing": "cut"}),
    ]
    built.rows(evaluation_ref("M2/ifeval", Stage.ITEMS), rows)
    listing, item = items.views("ifeval", "/ifeval", "IFEval")
    with Source(built.folder) as source:
        page = listing.page(source, ui.Query(show="all"))
        assert isinstance(page, ui.Listing)
        assert (page.title, page.columns) == ("IFEval", ("item", "M2"))
        assert page.lines == (
            ui.Line("7", "/ifeval/item?key=7", ("right",)),
            ui.Line("8", "/ifeval/item?key=8", ("missing",)),
        )
        assert page.note is not None and page.note.startswith("M1: ")
        shown = item.page(source, ui.Query(key="7"))
        cells = Markup(reader(source).get("/").text).cells
        assert ["IFEval", "right by every metric: M1 –; M2 1 of 2"] in cells
    assert isinstance(shown, ui.Detail)
    assert shown.crumbs[1] == ui.Link("IFEval", "/ifeval")
    texts = [(text.heading, text.text) for text in shown.parts[0].cards[0].texts]
    assert texts[:2] == [("Prompt", "Say hi."), ("Generated text", "hi")]
    assert texts[2][0] == "instructions" and '"case"' in texts[2][1]


def test_a_benchmark_that_was_neither_asked_for_nor_run_is_not_listed(client: TestClient) -> None:
    assert "IFEval" not in client.get("/").text
