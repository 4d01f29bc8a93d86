"""The app both servers start from: guarded, with static files and errors as pages."""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException

from core.errors import MissingArtifact, SrlmError, StorageError
from core.version import code_version
from web.kit.guard import LOOPBACK_NAMES, Guard
from web.kit.text import as_html, as_plain

if TYPE_CHECKING:
    from collections.abc import Collection


TEMPLATES = Path(__file__).parent / "templates"
STATIC = Path(__file__).parent / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript"}


class Pages:
    """Renders the templates of one folder, which may extend `base.html.j2`.

    Values are escaped; `text | markdown` and `text | plain` show text of models (see text.py).
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Name the folder of the templates; the shared ones are found without."""
        folders = [TEMPLATES] if folder is None else [folder, TEMPLATES]
        self._environment = Environment(
            loader=FileSystemLoader(folders),
            autoescape=True,
            undefined=StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters["markdown"] = as_html
        self._environment.filters["plain"] = as_plain

    def render(self, template: str, /, status: int = HTTPStatus.OK, **values: Any) -> HTMLResponse:
        """Return a page; half characters, which UTF-8 cannot carry, become question marks."""
        text = self._environment.get_template(template).render(values)
        return HTMLResponse(text.encode(errors="replace"), status)


def new_app(
    title: str,
    *routers: APIRouter,
    static: Path | None = None,
    hosts: Collection[str] | None = LOOPBACK_NAMES,
) -> FastAPI:
    """Return an app that serves the routers, static files and /openapi.json.

    Args:
        title: what the OpenAPI description is called.
        routers: the pages.
        static: a folder of further static files, served below /static/ with the shared ones.
        hosts: the names it answers to, None for any (see guard.py).
    """
    app = FastAPI(title=title, version=code_version(), docs_url=None, redoc_url=None)
    app.add_middleware(Guard, hosts=hosts)
    app.include_router(static_router(STATIC, *([static] if static is not None else [])))
    for router in routers:
        app.include_router(router)
    pages = Pages()

    async def refused(request: Request, error: Exception) -> Response:  # noqa: ARG001
        status, said = _what(error)
        return pages.render("problem.html.j2", status, title=status.phrase, said=said)

    for kind in (HTTPException, RequestValidationError, SrlmError):
        app.add_exception_handler(kind, refused)
    return app


def _what(error: Exception) -> tuple[HTTPStatus, str]:
    """Return an error's status and words.

    An artifact that is not there yet is not found; a full disk is this server's own trouble, and
    passes. Other expected errors (a damaged file) conflict with what was asked for.
    """
    if isinstance(error, HTTPException):
        return HTTPStatus(error.status_code), str(error.detail)
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return HTTPStatus.UNPROCESSABLE_ENTITY, f"{where}: {first['msg']}"
    if isinstance(error, MissingArtifact):
        return HTTPStatus.NOT_FOUND, str(error)
    if isinstance(error, StorageError):
        return HTTPStatus.SERVICE_UNAVAILABLE, str(error)
    return HTTPStatus.CONFLICT, str(error)


class _File(NamedTuple):
    content: bytes
    kind: str
    tag: str


def static_router(*folders: Path) -> APIRouter:
    """Return the route /static/NAME over the style sheets and scripts of some folders."""
    files = {
        path.name: _read(path)
        for folder in folders
        for path in sorted(folder.iterdir())
        if path.suffix in _TYPES
    }
    router = APIRouter()

    @router.get("/static/{name}", response_class=Response)
    async def static_file(name: str, request: Request) -> Response:
        """Return a style sheet or script; 304 if the browser has this version."""
        found = files.get(name)
        if found is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "no such file")
        headers = {"Cache-Control": "no-cache", "ETag": found.tag}
        if request.headers.get("if-none-match") == found.tag:
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(found.content, media_type=found.kind, headers=headers)

    return router


def _read(path: Path) -> _File:
    content = path.read_bytes()
    tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    return _File(content, _TYPES[path.suffix], tag)
