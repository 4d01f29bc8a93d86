"""Untrusted text (of models, of other people) as safe HTML.

Markdown is rendered without HTML, images are named instead of loaded, and the result passes a
sanitiser that allows a few harmless tags. `as_html` and `as_plain` return Markup; everything else
is escaped by the templates.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import nh3
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markupsafe import Markup, escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it.renderer import RendererProtocol
    from markdown_it.token import Token
    from markdown_it.utils import EnvType, OptionsDict

MOST_MARKDOWN = 20_000  # characters; longer text is not rendered
_LOWEST_HEADING = 6
_SHIFT = 3  # an answer's headings are below those of the page
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_DIRECTIONS = re.compile("[\u202a-\u202e\u2066-\u2069]")
_HALVES = re.compile("[\ud800-\udfff]")
_TAGS = {
    "a", "blockquote", "br", "code", "del", "em", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre",
    "s", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
_ATTRIBUTES = {"a": {"href"}, "ol": {"start"}}
_SCHEMES = {"http", "https", "mailto"}


@lru_cache(maxsize=4096)
def as_html(text: str) -> Markup:
    """Return Markdown as harmless HTML: no scripts, styles, images, forms, ids or classes.

    Line breaks are kept. Text over MOST_MARKDOWN characters is returned as by `as_plain`, because
    the time for some Markdown grows with its square.
    """
    if len(text) > MOST_MARKDOWN:
        return Markup("<pre>{}</pre>").format(as_plain(text))
    rendered = _MARKDOWN.render(visible(text))
    clean = nh3.clean(
        rendered,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        url_schemes=_SCHEMES,
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )
    return Markup(clean)  # noqa: S704 - what the sanitiser returns


def as_plain(text: str) -> Markup:
    """Return text unchanged but escaped, with `visible` control characters."""
    return escape(visible(text))


def visible(text: str) -> str:
    """Make characters visible that would change the page unseen.

    Bidirectional controls (U+202A to U+202E, U+2066 to U+2069) become "[U+202E]", other control
    characters their symbol (␀, ␛), and lone surrogates U+FFFD.
    """
    shown = _DIRECTIONS.sub(lambda found: f"[U+{ord(found[0]):04X}]", text)
    return _CONTROLS.sub(_sign, _HALVES.sub("\ufffd", shown))


def _sign(found: re.Match[str]) -> str:
    code = ord(found[0])
    return "\u2421" if code == 0x7F else chr(0x2400 + code)  # noqa: PLR2004 - delete


def _image(
    self: RendererProtocol,  # noqa: ARG001 - the renderer's own signature
    tokens: Sequence[Token],
    at: int,
    options: OptionsDict,  # noqa: ARG001
    env: EnvType,  # noqa: ARG001
) -> str:
    """Name an image instead of loading it."""
    image = tokens[at]
    return escapeHtml(f"[image: {image.content}]" if image.content else "[image]")


def _lower_headings(state: Any) -> None:
    for token in state.tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(_LOWEST_HEADING, int(token.tag[1]) + _SHIFT)}"


def _markdown() -> MarkdownIt:
    made = MarkdownIt("commonmark", {"html": False, "breaks": True, "maxNesting": 20})
    made.enable(["table", "strikethrough"])
    made.add_render_rule("image", _image)
    made.core.ruler.push("lower_headings", _lower_headings)
    return made


_MARKDOWN = _markdown()
