"""Strangers' text: what it may become on a page, and what it may not."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.kit.text import MOST_MARKDOWN, as_html, as_plain, visible

ALLOWED = {
    "a", "blockquote", "br", "code", "del", "em", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre",
    "s", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip


class Tags(HTMLParser):
    """Every element of a page and its attributes, as a browser's parser finds them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_markdown_becomes_html_below_the_pages_own_headings() -> None:
    assert as_html("# One\n\n###### Six\n\n**bold** and `code`") == (
        "<h4>One</h4>\n<h6>Six</h6>\n<p><strong>bold</strong> and <code>code</code></p>\n"
    )


def test_line_breaks_stay_where_they_were_written() -> None:
    assert as_html("one\ntwo") == "<p>one<br>\ntwo</p>\n"


def test_a_table_is_a_table_without_inline_styles() -> None:
    page = as_html("| a |\n|:-:|\n| 1 |")
    assert [tag for tag, _ in Tags(page).found] == [
        "table",
        "thead",
        "tr",
        "th",
        "tbody",
        "tr",
        "td",
    ]
    assert "style" not in page


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("<script>alert(1)</script>", "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>\n"),
        ("<img src=x onerror=alert(1)>", "<p>&lt;img src=x onerror=alert(1)&gt;</p>\n"),
        ("[x](javascript:alert(1))", "<p>[x](javascript:alert(1))</p>\n"),
        ("[x](JaVaScRiPt&#58;alert(1))", "<p>[x](JaVaScRiPt:alert(1))</p>\n"),
        ("[x](data:text/html,<b>)", "<p>[x](data:text/html,&lt;b&gt;)</p>\n"),
        ("![a \"b\"](http://x.example/p.png)", "<p>[image: a \"b\"]</p>\n"),
        ("![](http://x.example/p.png)", "<p>[image]</p>\n"),
        ("**broken [link](", "<p>**broken [link](</p>\n"),
        ("```\nno end", "<pre><code>no end</code></pre>\n"),
        ("\x1b[31mred\x00", "<p>␛[31mred␀</p>\n"),
        ("\u202etxt.exe\u2066", "<p>[U+202E]txt.exe[U+2066]</p>\n"),
        ("half \ud83d", "<p>half \ufffd</p>\n"),
    ],
)  # fmt: skip
def test_hostile_text_is_shown_and_does_nothing(hostile: str, shown: str) -> None:
    assert as_html(hostile) == shown


def test_external_links_send_no_referrer() -> None:
    found = Tags(as_html("[x](https://example.org)")).found
    assert found[1] == (
        "a",
        {
            "href": "https://example.org",
            "target": "_blank",
            "rel": "noopener noreferrer nofollow",
        },
    )


@given(
    st.text(
        alphabet=st.sampled_from(list("<>/!-[](){}&;:#*_`~|\"'= \n\tascriptonerimgjv\u202e\x00"))
    )
)
def test_no_text_gets_an_element_or_attribute_that_is_not_harmless(text: str) -> None:
    for tag, attributes in Tags(as_html(text)).found:
        assert tag in ALLOWED
        assert attributes.keys() <= {"href", "target", "rel", "start"}
        href = attributes.get("href") or ""
        assert (
            not href
            or href.partition(":")[0].lower() in ("http", "https", "mailto")
            or (":" not in href)
        )


def test_plain_text_is_escaped_and_otherwise_as_it_was_written() -> None:
    assert as_plain("a < b\n  **c**\u202e") == "a &lt; b\n  **c**[U+202E]"


def test_marks_of_a_right_to_left_language_are_no_overrides() -> None:
    assert visible("שלום\u200f!") == "שלום\u200f!"


def test_very_long_text_is_not_rendered_but_shown() -> None:
    page = as_html("# <b>" + "x" * MOST_MARKDOWN)
    assert page.startswith("<pre># &lt;b&gt;xxx")
    assert len(page) == MOST_MARKDOWN + len("<pre># &lt;b&gt;</pre>")
