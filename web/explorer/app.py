"""The explorer as an app: the pages of one run, rendered, behind the guard of web/kit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from web.explorer.pages import Detail, Link, Listing, Tables
from web.explorer.routes import router
from web.explorer.views.table import VIEWS
from web.kit.app import Pages, new_app
from web.kit.guard import LOOPBACK_NAMES

if TYPE_CHECKING:
    from collections.abc import Collection

    from fastapi import FastAPI, Request
    from fastapi.responses import HTMLResponse

    from web.explorer.pages import Page
    from web.explorer.source import Source

_FOLDER = Path(__file__).parent
_TEMPLATES = {Tables: "tables.html.j2", Listing: "listing.html.j2", Detail: "detail.html.j2"}
_MENU = tuple(Link(view.menu, view.path) for view in VIEWS if view.menu)
_MOST_SHOWN = 10_000  # characters of a text unless the page is asked for the whole
_MOST_MARKDOWN = 4_000  # characters rendered as Markdown, whose time can grow with the square


def explorer_app(source: Source, *, hosts: Collection[str] | None = LOOPBACK_NAMES) -> FastAPI:
    """Return the app over a run that stays open; `hosts` as for `new_app`."""
    templates = Pages(_FOLDER / "templates")

    def respond(request: Request, page: Page, *, raw: bool, whole: bool) -> HTMLResponse:
        def here(**changes: Any) -> str:
            """Return this page's address with parts of its query changed; None removes one."""
            changed = dict(request.query_params.items()) | changes
            kept = {name: value for name, value in changed.items() if value is not None}
            tail = "?" + urlencode(kept, errors="replace") if kept else ""
            return request.url.path + tail

        return templates.render(
            _TEMPLATES[type(page)],
            page=page,
            run=source.run.name,
            menu=_MENU,
            display=Display(raw, whole),
            here=here,
        )

    pages = router(source, VIEWS, respond)
    return new_app("srlm explorer", pages, static=_FOLDER / "static", hosts=hosts)


class Display(NamedTuple):
    """How texts are shown: `raw` as written instead of as Markdown; `whole` without a limit."""

    raw: bool
    whole: bool

    def is_plain(self, text: str, *, fixed: bool) -> bool:
        """Whether a text is shown as it was written."""
        return self.raw or fixed or len(text) > _MOST_MARKDOWN

    def shown(self, text: str) -> str:
        """Return as much of a text as the page shows."""
        return text if self.whole else text[:_MOST_SHOWN]

    def left_out(self, text: str) -> int:
        """Return how many characters of a text the page leaves out."""
        return len(text) - len(self.shown(text))
