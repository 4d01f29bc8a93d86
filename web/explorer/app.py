"""The explorer as an app: the pages of one run behind the guard of evaluation/web."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from web.explorer.routes import routers
from web.explorer.templating import Templates
from web.kit.app import new_app
from web.kit.guard import LOOPBACK_NAMES

if TYPE_CHECKING:
    from collections.abc import Collection

    from fastapi import FastAPI

    from web.explorer.source import Source

_STATIC = Path(__file__).parent / "static"


def explorer_app(source: Source, *, hosts: Collection[str] | None = LOOPBACK_NAMES) -> FastAPI:
    """Return the app over a run that stays open; `hosts` as for `new_app`."""
    return new_app(
        "srlm explorer", *routers(source, Templates(source)), static=_STATIC, hosts=hosts
    )
