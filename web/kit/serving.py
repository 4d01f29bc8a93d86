"""The server's port, and serving until interrupted."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import re
import socket
from typing import TYPE_CHECKING

import uvicorn

from core.errors import ConfigError
from core.progress import say
from web.kit.guard import LOOPBACK_NAMES

if TYPE_CHECKING:
    from collections.abc import Collection

    from fastapi import FastAPI

_BACKLOG = 2048


def open_port(host: str, port: int) -> socket.socket:
    """Listen on host and port (0: a free one), and warn if others can reach it.

    Raises:
        ConfigError: the port is taken, or this machine has no such address.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # Named as TCP, asyncio sends small parts at once instead of waiting for 40 ms (Nagle).
        opened = socket.socket(family, kind, protocol)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind(address)
            opened.listen(_BACKLOG)  # from here on a browser waits instead of being refused
        except BaseException:
            opened.close()
            raise
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        message = f"{host}:{port}: {reason}; give another --port (0 for a free one) or --host"
        raise ConfigError(message) from None
    if not is_loopback(host):
        say(
            f"warning: {host} can be reached from other machines, without encryption; anyone with "
            "a link can open it. A tunnel (ssh -L) or a proxy with https is safer"
        )
    return opened


def hosts_of(host: str, address: str | None = None) -> Collection[str] | None:
    """Return the host names that a server accepts: loopback's only, or any (None).

    `address` is the public address of a proxy or tunnel, whose name is accepted, too.

    Raises:
        ConfigError: `address` is not a web address.
    """
    if not is_loopback(host):
        return None
    if address is None:
        return LOOPBACK_NAMES
    found = re.fullmatch(r"https?://([^/:@]+)(:\d+)?", address)
    if found is None:
        message = f"--address {address!r}: expected a web address, e.g. https://study.example"
        raise ConfigError(message)
    return LOOPBACK_NAMES | {found[1].lower()}


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def address_of(opened: socket.socket) -> str:
    """Return the URL of an open port, without a slash at the end."""
    host, port = opened.getsockname()[:2]
    name = f"[{host}]" if opened.family == socket.AF_INET6 else host
    return f"http://{name}:{port}"


def serve(app: FastAPI, opened: socket.socket) -> None:
    """Serve until interrupted. Addresses contain secrets, so requests are not logged."""
    config = uvicorn.Config(
        app,
        http="h11",
        loop="asyncio",
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    logging.getLogger("uvicorn.error").addFilter(no_cancellation)
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[opened])


def no_cancellation(record: logging.LogRecord) -> bool:
    """Whether a log record is not the traceback of a request that ended with the server."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))
