"""The app that both servers use: guarded, with templates, static files and errors as pages."""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
        """Load templates from a folder and from the shared ones."""
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
        """Return a page; lone surrogates, which UTF-8 cannot encode, become question marks."""
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
        title: of the OpenAPI description.
        routers: the pages.
        static: a folder of more static files, served below /static/ with the shared ones.
        hosts: the accepted host names, None for any (see guard.py).
    """
    app = FastAPI(title=title, version=code_version(), docs_url=None, redoc_url=None)
    app.add_middleware(Guard, hosts=hosts)
    app.include_router(static_router(STATIC, *([static] if static is not None else [])))
    for router in routers:
        app.include_router(router)
    pages = Pages()

    async def refused(request: Request, error: Exception) -> Response:  # noqa: ARG001
        status, message = _status(error)
        return pages.render("problem.html.j2", status, title=status.phrase, message=message)

    for kind in (HTTPException, RequestValidationError, SrlmError):
        app.add_exception_handler(kind, refused)
    return app


def _status(error: Exception) -> tuple[HTTPStatus, str]:
    """Return the HTTP status and the message of an error.

    A missing artifact is 404, a full disk 503 (temporary); other expected errors, such as a damaged
    file, are 409.
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


def static_router(*folders: Path) -> APIRouter:
    """Return the route /static/NAME over the style sheets and scripts of some folders."""
    paths = [path for folder in folders for path in sorted(folder.iterdir())]
    files = {path.name: (path.read_bytes(), path.suffix) for path in paths if path.suffix in _TYPES}
    tags = {name: f'"{hashlib.sha256(found[0]).hexdigest()[:16]}"' for name, found in files.items()}
    router = APIRouter()

    @router.get("/static/{name}", response_class=Response)
    async def static_file(name: str, request: Request) -> Response:
        """Return a style sheet or script; 304 if the browser has this version."""
        if name not in files:
            raise HTTPException(HTTPStatus.NOT_FOUND, "no such file")
        headers = {"Cache-Control": "no-cache", "ETag": tags[name]}
        if request.headers.get("if-none-match") == tags[name]:
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        content, suffix = files[name]
        return Response(content, media_type=_TYPES[suffix], headers=headers)

    return router
