"""The explorer as an app: a route for each view of a run, rendered, behind the guard of web/kit.

All routes are read with GET and change nothing.
"""

from __future__ import annotations

import pathlib
from http import HTTPStatus
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Path, Query, Request
from fastapi.responses import HTMLResponse

from web.explorer import pages as ui
from web.explorer.views.table import VIEWS
from web.kit.app import Pages, new_app
from web.kit.guard import LOOPBACK_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from fastapi import FastAPI

    from web.explorer.source import Source
    from web.explorer.views.view import View

    Render = Callable[[Request, ui.Page, bool, bool], HTMLResponse]

_FOLDER = pathlib.Path(__file__).parent
_TEMPLATES = {
    ui.Tables: "tables.html.j2",
    ui.Listing: "listing.html.j2",
    ui.Detail: "detail.html.j2",
}
_MENU = tuple(ui.Link(view.menu, view.path) for view in VIEWS if view.menu)
_MOST_SHOWN = 10_000  # characters of a text unless the page is asked for the whole
_MOST_MARKDOWN = 4_000  # characters rendered as Markdown, whose time can grow with the square
_Name = Annotated[str, Query(max_length=300, description="A name: outcome, model, artifact.")]
_Key = Annotated[str, Query(max_length=2000, description="Key of a row.")]
_Words = Annotated[
    str, Query(max_length=300, description='Words that must all occur; "…" keeps them together.')
]
_PageNumber = Annotated[int, Query(ge=1, le=1_000_000, description="Page of a list, from 1.")]
_Raw = Annotated[bool, Query(description="Texts as they were written instead of as Markdown.")]
_Whole = Annotated[bool, Query(description="Texts without a limit of length.")]
_REQUIRED: dict[str, Any] = {"key": _Key, "artifact": _Name, "address": _Name}
_OPTIONAL: dict[str, tuple[Any, Any]] = {
    "outcome": (_Name, ""),
    "model": (_Name, ""),
    "only": (_Name, ""),
    "q": (_Words, ""),
    "page": (_PageNumber, 1),
    "raw": (_Raw, False),
    "whole": (_Whole, False),
}
_IN_PATH: dict[str, Any] = {
    "k": Annotated[int, Path(ge=0, le=999_999, description="Number of the iteration.")],
    "task": str,
}


def explorer_app(source: Source, *, hosts: Collection[str] | None = LOOPBACK_NAMES) -> FastAPI:
    """Return the app over a run that stays open; `hosts` as for `new_app`."""
    templates = Pages(_FOLDER / "templates")

    def render(request: Request, page: ui.Page, raw: bool, whole: bool) -> HTMLResponse:
        def here(**changes: Any) -> str:
            """Return this page's address with parts of its query changed; None removes one."""
            return ui.link(request.url.path, **(dict(request.query_params) | changes))

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

    pages = _router(source, render)
    return new_app("srlm explorer", pages, static=_FOLDER / "static", hosts=hosts)


def _router(source: Source, render: Render) -> APIRouter:
    """Return the routes of the views; `render` takes `raw` and `whole`, too."""
    made = APIRouter(
        default_response_class=HTMLResponse,
        responses={404: {"description": "it does not exist; the page names what does"}},
    )
    for view in VIEWS:
        made.get(view.path, description=view.description)(_endpoint(source, view, render))

    @made.get("/{path:path}", include_in_schema=False)
    def unknown(path: str) -> HTMLResponse:
        """Say what pages there are."""
        known = [address for view in VIEWS for address in _addresses(source, view)]
        known.sort(key=lambda address: address.count("/"))
        message = f"no page {path!r}; there are {', '.join(known)}"
        raise HTTPException(HTTPStatus.NOT_FOUND, message)

    return made


def _endpoint(source: Source, view: View, render: Render) -> Callable[..., HTMLResponse]:
    def endpoint(request: Request, *, raw: bool, whole: bool, **asked: Any) -> HTMLResponse:
        return render(request, view.page(source, ui.Query(**asked)), raw, whole)

    endpoint.__signature__ = Signature(_parameters(view))  # type: ignore[attr-defined]
    return endpoint


def _parameters(view: View) -> list[Parameter]:
    """Return what FastAPI reads from the address of a view, with types and limits."""
    kind = Parameter.KEYWORD_ONLY
    needed = {name: found for name, found in _IN_PATH.items() if f"{{{name}}}" in view.path}
    needed |= {name: _REQUIRED[name] for name in view.asks if name in _REQUIRED}
    optional = {name: _OPTIONAL[name] for name in (*view.asks, "raw", "whole") if name in _OPTIONAL}
    for found in view.filters:
        values = tuple(found.options)
        optional[found.name] = (Literal[values], values[0])
    parameters = [Parameter("request", kind, annotation=Request)]
    parameters += [Parameter(name, kind, annotation=of) for name, of in needed.items()]
    for name, (of, default) in optional.items():
        parameters.append(Parameter(name, kind, annotation=of, default=default))
    return parameters


def _addresses(source: Source, view: View) -> list[str]:
    """Return the addresses of a view that need no query."""
    if any(name in _REQUIRED for name in view.asks):
        return []
    if view.path == "/iteration/{k}":
        return [f"/iteration/{k}" for k in source.run.iterations]
    if "{task}" in view.path:
        return [view.address(task=task) for task in source.run.parts(view.rows_of[0][0])]
    return [] if "{" in view.path else [view.path]
