"""Text that means harm, in every field a model or a stranger writes, over the real app."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.records import Candidate, Generation, Judgment, LedgerRow, Prompt, PromptCall, Verdict
from core.stages import Ref, Stage, evaluation_ref
from tests.reports.runs import RunBuilder
from tests.web.explorer.made import CANDIDATES, EVALUATION, Markup, altered, reader
from tests.web.explorer.test_app import crawl
from web.explorer.source import Source

HOSTILE = [
    "<script>document.title = 'owned'</script>",
    "</pre></article><img src=x onerror=\"document.title='owned'\">",
    "[click](javascript:document.title='owned') <javascript:alert(1)>",
    "![pixel](https://attacker.example/pixel.png) [data](data:text/html,<script>1</script>)",
    "<style>body { display: none }</style><meta http-equiv=refresh content='0;url=//a.example'>",
    "\u202eevil\u202c abc\u2066def\u2069",
    "null \0 bell \a escape \x1b[31m delete \x7f",
    "```\nan unclosed fence\n\n> " + "> " * 300 + "[" * 300 + "*_" * 300,
    "{{ 7 * 7 }} {% raw %} ${7*7} &lt;b&gt; \" ' ` = ?&#x3c;script>",
    "HALF",  # half a character, once the file has been altered
]
ALLOWED = {"html", "head", "meta", "title", "link", "script", "body", "a", "header", "nav", "form",
           "label", "input", "button", "select", "option", "main", "span", "h1", "h2", "h3", "h4",
           "h5", "h6", "p", "section", "div", "table", "thead", "tbody", "tr", "th", "td", "dl",
           "dt", "dd", "article", "pre", "code", "blockquote", "ul", "ol", "li", "em", "strong",
           "br", "hr"}  # fmt: skip


def hostile_run(folder: Path) -> Path:
    """Make a run in which every text, key and name of an outcome is hostile."""
    built = RunBuilder(folder)
    built.config(run="hostile", iterations=2, evaluation=EVALUATION)
    keys = [f"{at}\"'><script>/{text[:20]}" for at, text in enumerate(HOSTILE)]
    rows = list(zip(keys, HOSTILE, strict=True))
    built.rows(Ref(2, Stage.PROMPT_CALLS), [PromptCall("c", 0, tuple(HOSTILE), HOSTILE[0], 1, "<")])
    built.rows(
        Ref(2, Stage.PROMPTS), [Prompt(k, t, None if n % 2 else t, 0, t) for n, (k, t) in _at(rows)]
    )
    built.rows(CANDIDATES, [Candidate(k + "/a0", k, 0, t, 1, "stop") for k, t in rows])
    built.rows(
        Ref(2, Stage.JUDGMENTS),
        [Judgment(k + "/a0/j0", k + "/a0", k, 0, t, None, t, 1) for k, t in rows],
    )
    built.rows(Ref(2, Stage.PAIRS), [LedgerRow(k, t, t, (None,), (0,)) for k, t in rows])
    for model in ("M1", "M2"):
        answers = [Generation(k, k, t, t, 1, t) for k, t in rows]
        built.rows(evaluation_ref(f"{model}/head_to_head", Stage.ANSWERS), answers)
    verdicts = [Verdict(k, k, "M2", "M1", None, t, (t,)) for k, t in rows]
    built.rows(evaluation_ref("head_to_head/M2-M1", Stage.VERDICTS), verdicts)
    altered(built.store, CANDIDATES, b'"HALF"', rb'"half \ud83d of one"')
    return folder


def _at(rows: list[tuple[str, str]]) -> list[tuple[int, tuple[str, str]]]:
    return list(enumerate(rows))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Markup]:
    with Source(hostile_run(tmp_path_factory.mktemp("runs") / "hostile")) as source:
        return crawl(reader(source))


def test_hostile_words_make_no_element_no_handler_and_no_link_elsewhere(
    pages: dict[str, Markup],
) -> None:
    # 10 prompts, twice for raw, their rows, filters: well over a hundred pages.
    assert len(pages) > 100
    elements = set().union(*(page.elements for page in pages.values()))
    assert elements - ALLOWED == set()
    attributes = set().union(*(page.attributes for page in pages.values()))
    assert [name for name in attributes if name.startswith(("on", "style", "srcdoc"))] == []
    links = {link for page in pages.values() for link in page.links}
    assert [link for link in links if link[:1] not in ("/", "#", "")] == []


def test_hostile_words_can_be_read_as_they_are(pages: dict[str, Markup]) -> None:
    raw = [page for address, page in pages.items() if address.endswith("raw=1")]
    texts = {text for page in raw for text in page.texts}
    for words in (HOSTILE[0], HOSTILE[1], HOSTILE[2], HOSTILE[4], HOSTILE[8]):
        assert words in texts
    assert "[U+202E]evil[U+202C] abc[U+2066]def[U+2069]" in texts
    assert "null ␀ bell ␇ escape ␛[31m delete ␡" in texts
    assert "half \ufffd of one" in texts


def test_a_direction_is_never_overridden_in_lists_either(pages: dict[str, Markup]) -> None:
    everything = [cell for page in pages.values() for row in page.cells for cell in row]
    assert any("[U+202E]evil" in cell for cell in everything)
    assert not any(mark in cell for cell in everything for mark in "\u202e\u2066\0\x1b")


def test_a_line_of_a_million_characters_is_cut_and_can_be_read_whole(tmp_path: Path) -> None:
    million = "<b>" + "x" * 999_994 + "end"
    rows = [Candidate("p/a0", "p", 0, million, 1, "length")]
    built = RunBuilder(tmp_path).rows(CANDIDATES, rows)
    built.rows(Ref(2, Stage.PROMPTS), [Prompt("p", million, None, 0)])
    with Source(tmp_path) as source:
        client = reader(source)
        cut = client.get("/iteration/2/prompt?key=p")
        assert "990,000 more characters: show everything" in cut.text
        assert len(cut.content) < 40_000
        whole = Markup(client.get("/iteration/2/prompt?key=p&whole=1").text)
        assert whole.texts.count(million) == 2  # the prompt and its candidate
        listing = client.get("/iteration/2/prompts")
        assert "1,000,000" in listing.text and len(listing.content) < 10_000
        assert client.get("/search?q=xend").text.count("xend") < 20
