"""One made run and its app for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from tests.web.explorer.made import made_run, reader
from web.explorer.source import Source


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Source]:
    """The made run; never change its files."""
    with Source(made_run(tmp_path_factory.mktemp("runs") / "made")) as opened:
        yield opened


@pytest.fixture(scope="module")
def client(source: Source) -> TestClient:
    """A reader of the made run."""
    return reader(source)
