"""The explorer as an app: the pages of one run, rendered, behind the guard of web/kit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from web.explorer.pages import Detail, Link, Listing, Page, Tables, link
from web.explorer.routes import router
from web.explorer.views.table import VIEWS
from web.kit.app import Pages, new_app
from web.kit.guard import LOOPBACK_NAMES

if TYPE_CHECKING:
    from collections.abc import Collection

    from fastapi import FastAPI, Request
    from fastapi.responses import HTMLResponse

    from web.explorer.source import Source

_FOLDER = Path(__file__).parent
_TEMPLATES = {Tables: "tables.html.j2", Listing: "listing.html.j2", Detail: "detail.html.j2"}
_MENU = tuple(Link(view.menu, view.path) for view in VIEWS if view.menu)
_MOST_SHOWN = 10_000  # characters of a text unless the page is asked for the whole
_MOST_MARKDOWN = 4_000  # characters rendered as Markdown, whose time can grow with the square


def explorer_app(source: Source, *, hosts: Collection[str] | None = LOOPBACK_NAMES) -> FastAPI:
    """Return the app over a run that stays open; `hosts` as for `new_app`."""
    templates = Pages(_FOLDER / "templates")

    def render(request: Request, page: Page, raw: bool, whole: bool) -> HTMLResponse:
        def here(**changes: Any) -> str:
            """Return this page's address with parts of its query changed; None removes one."""
            return link(request.url.path, **(dict(request.query_params) | changes))

        return templates.render(
            _TEMPLATES[type(page)],
            page=page,
            run=source.run.name,
            menu=_MENU,
            here=here,
            raw=raw,
            most_shown=None if whole else _MOST_SHOWN,
            most_markdown=_MOST_MARKDOWN,
        )

    pages = router(source, VIEWS, render)
    return new_app("srlm explorer", pages, static=_FOLDER / "static", hosts=hosts)
