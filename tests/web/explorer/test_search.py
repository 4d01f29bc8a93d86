from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from core.records import Candidate, Prompt
from tests.reports.runs import RunBuilder
from tests.web.explorer.made import CANDIDATES, PROMPTS, Markup, altered, made_run, reader
from web.explorer.index import search
from web.explorer.source import Source

TEXTS = [
    "The Straße of STRASSE",
    'a "quoted" word; DROP TABLE rows; --',
    "null\0byte and * star ( paren",
    "ab",
    "İstanbul İ",
    "日本語の文",
    "The metal spoon is cold",
    "cold metal, no sp00n",
]
QUERIES = ["strasse", "STRASSE of", "metal cold", '"metal spoon"', "ab", "a", "*", '"quoted"', "(",
           "DROP rows", "日本語", "本", "İ", "null byte", "spoon AND cold", "NEAR(metal cold)", '"',
           "--", "zzz", "col"]  # fmt: skip


@pytest.fixture
def opened(tmp_path: Path) -> Source:
    rows = [Prompt(f"t{at}", text, None, at) for at, text in enumerate(TEXTS)]
    return Source(RunBuilder(tmp_path).rows(PROMPTS, rows).folder)


def keys(source: Source) -> Callable[[str], list[str]]:
    return lambda query: [hit.key for hit in source.search.find(query).hits]


def test_every_word_must_occur_in_any_case_and_order(opened: Source) -> None:
    find = keys(opened)
    assert find("METAL cold") == ["t6", "t7"]
    assert find("cold metal spoon") == ["t6"]
    assert find('"metal spoon"') == ["t6"]
    assert find('"spoon metal"') == []
    assert find("strasse") == ["t0"]
    assert find("本") == ["t5"]
    assert find("") == find("  ") == []
    assert find("null byte") == ["t2"]


def test_the_trigram_index_changes_nothing_but_time(opened: Source) -> None:
    find = keys(opened)
    scanned = {query: find(query) for query in QUERIES}
    opened.search.start()
    opened.search.wait()
    assert opened.search.filled == len(TEXTS)  # what was scanned above is now looked up
    assert {query: find(query) for query in QUERIES} == scanned
    assert sum(map(len, scanned.values())) > len(QUERIES)


def test_the_trigram_index_is_used(opened: Source) -> None:
    opened.search.start()
    opened.search.wait()
    opened.index.write("DELETE FROM texts WHERE id = (SELECT id FROM rows WHERE key = 't6')")
    # The texts decide in the end, so a row whose text is gone is not found.
    assert keys(opened)("metal") == ["t7"]
    opened.index.write("DROP TABLE trigrams")
    with pytest.raises(Exception, match="no such table: trigrams"):
        keys(opened)("metal")


def test_without_trigrams_everything_is_still_found(
    opened: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opened.search, "_has_trigrams", False)
    opened.search.start()
    assert opened.search._thread is None
    assert keys(opened)("metal cold") == ["t6", "t7"]


def test_what_is_finished_later_is_found_and_indexed_too(opened: Source) -> None:
    opened.search.start()
    opened.search.wait()
    rows = [Candidate("late/a0", "late", 0, "A metal spoon again", 4, "stop")]
    RunBuilder(opened.run.folder).rows(CANDIDATES, rows)
    assert keys(opened)("spoon again") == ["late/a0"]
    opened.search.wait()
    assert opened.search.filled == len(TEXTS) + 1
    assert keys(opened)("spoon again") == ["late/a0"]


def test_a_cut_list_of_hits_says_so(opened: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MOST_HITS", 2)
    found = opened.search.find("a")
    assert (len(found.hits), found.cut) == (2, True)


def test_a_search_names_artifacts_and_leads_to_what_a_row_is_about(tmp_path: Path) -> None:
    with Source(made_run(tmp_path / "made")) as source:
        page = reader(source).get("/search?q=TROUT")
        ((words, artifact, key),) = Markup(page.text).cells
        assert words == "A trout, of the river kind."
        assert (artifact, key) == ("iter2/candidates", "c0/t0/a0")
        assert "/iteration/2/prompt?key=c0%2Ft0" in Markup(page.text).links
        assert Markup(reader(source).get("/search?q=trout&only=iter3").text).cells == []


def test_an_artifact_that_cannot_be_searched_is_named(tmp_path: Path) -> None:
    with Source(made_run(tmp_path / "made")) as source:
        altered(source.run.store, CANDIDATES, b"A trout", b'A "trout')
        found = source.search.find("fish")
        assert [str(ref) for ref in found.unread] == ["iter2/candidates"]
        assert len(found.hits) > 0
