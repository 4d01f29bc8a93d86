"""Static files, read once: a request never reaches the disk, so no name in it becomes a path."""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

STATIC = Path(__file__).parent / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript"}


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
