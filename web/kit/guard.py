"""Checks of every request and headers of every response, whatever the page.

Requests for another host name (DNS rebinding), with too long an address or too large a body, and
cross-site posts are refused before any page is called. Every response carries headers that forbid
foreign scripts, framing, referrers and caching.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
MOST_BODY_BYTES = 64 * 1024
MOST_ADDRESS_BYTES = 8 * 1024
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_READING = {"GET", "HEAD", "OPTIONS"}


class Guard:
    """ASGI middleware; `hosts` are the accepted host names, None for any."""

    def __init__(
        self,
        app: ASGIApp,
        hosts: Collection[str] | None,
        most_body_bytes: int = MOST_BODY_BYTES,
    ) -> None:
        """Wrap an app."""
        self._app, self._hosts, self._most = app, hosts, most_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or pass it on with its body read."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(SECURITY_HEADERS)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        body = refusal(scope, self._hosts) or await _body(scope, receive, self._most)
        if isinstance(body, bytes):
            await self._app(scope, _replayed(body, receive), send_guarded)
        else:
            await body(scope, receive, send_guarded)


def refusal(scope: Scope, hosts: Collection[str] | None) -> PlainTextResponse | None:
    """Return the response to a request that is refused by its headers; None if it is accepted."""
    headers = Headers(scope=scope)
    host = headers.get("host", "")
    if hosts is not None and _name(host) not in hosts:
        message = f"unknown host {host!r}; use the address that the server printed"
        return PlainTextResponse(message, HTTPStatus.MISDIRECTED_REQUEST)
    length = len(scope.get("raw_path") or scope["path"].encode()) + len(scope["query_string"])
    if length > MOST_ADDRESS_BYTES:
        return PlainTextResponse("the address is too long", HTTPStatus.REQUEST_URI_TOO_LONG)
    if scope["method"] not in _READING and is_foreign(headers):
        return PlainTextResponse("cross-site request refused", HTTPStatus.FORBIDDEN)
    return None


def is_foreign(headers: Headers) -> bool:
    """Whether the browser's headers say that another site's page sent the request.

    Sec-Fetch-Site decides where browsers send it (https and loopback). Otherwise Origin must be
    this host; "null" proves nothing, because pages with Referrer-Policy: no-referrer send it, too:
    then the form's own token decides.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin", "null")
    try:
        return origin != "null" and urlsplit(origin).netloc != headers.get("host")
    except ValueError:
        return True


def _name(host: str) -> str:
    """Return a Host header without its port."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdecimal() else host).lower()


async def _body(scope: Scope, receive: Receive, most: int) -> bytes | PlainTextResponse:
    """Read the whole body; the response that refuses it if it is larger than allowed."""
    message = f"larger than {most / 1024:g} kB"
    too_large = PlainTextResponse(message, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    declared = Headers(scope=scope).get("content-length", "0")
    if not declared.isdecimal() or int(declared) > most:
        return too_large
    found: bytes = b""
    while True:
        part = await receive()
        if part["type"] != "http.request":  # the browser disconnected
            return found
        found += part.get("body", b"")
        if len(found) > most:
            return too_large
        if not part.get("more_body", False):
            return found


def _replayed(body: bytes, receive: Receive) -> Receive:
    waiting = [body]

    async def replay() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return replay
