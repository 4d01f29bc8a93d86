"""From a page as data to HTML: which template, how texts are shown, what the address keeps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from web.explorer.pages import Detail, Listing, Tables
from web.kit.app import Pages

if TYPE_CHECKING:
    from fastapi import Request
    from fastapi.responses import HTMLResponse

    from web.explorer.source import Source

_TEMPLATES = Path(__file__).parent / "templates"
_MOST_SHOWN = 10_000  # characters of a text on a page that has not been asked for the whole
_MOST_MARKDOWN = 4_000  # of a text that is rendered: some Markdown takes time that grows squared


class View(NamedTuple):
    """How texts are shown: `raw` letter by letter instead of as Markdown; `whole` uncut."""

    raw: bool
    whole: bool

    def is_plain(self, text: str, *, fixed: bool) -> bool:
        """Whether a text stands as it was written."""
        return self.raw or fixed or len(text) > _MOST_MARKDOWN

    def shown(self, text: str) -> str:
        """Return as much of a text as the page shows."""
        return text if self.whole else text[:_MOST_SHOWN]

    def left_out(self, text: str) -> int:
        """Return how many characters of a text the page leaves out."""
        return len(text) - len(self.shown(text))


class Templates:
    """Renders the explorer's pages."""

    def __init__(self, source: Source) -> None:
        """Name the run whose pages these are."""
        self._source = source
        self._pages = Pages(_TEMPLATES)

    def page(self, request: Request, page: Tables | Listing | Detail) -> HTMLResponse:
        """Return a page as HTML; `request.state.view` says how texts are shown."""
        template = {Tables: "tables", Listing: "listing", Detail: "detail"}[type(page)]
        query = request.query_params

        def here(**changes: Any) -> str:
            """Return this page's address with parts of its query changed; None removes one."""
            kept = dict(query.items()) | changes
            kept = {name: value for name, value in kept.items() if value is not None}
            tail = "?" + urlencode(kept, errors="replace") if kept else ""
            return request.url.path + tail

        return self._pages.render(
            f"{template}.html.j2",
            page=page,
            run=self._source.run.name,
            view=request.state.view,
            here=here,
        )
