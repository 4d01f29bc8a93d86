from __future__ import annotations

from http import HTTPStatus
from pathlib import Path

import pytest
from fastapi import APIRouter, HTTPException
from starlette.testclient import TestClient

from core.errors import DataError, MissingArtifact, StorageError
from web.kit.app import Pages, new_app

ERRORS = {
    "gone": HTTPException(HTTPStatus.GONE, "it was <b>here</b>"),
    "missing": MissingArtifact("iter2/pairs: not made yet"),
    "damaged": DataError("a.jsonl", 3, "damaged line"),
    "full": StorageError("votes.sqlite: disk is full"),
}


@pytest.fixture
def client() -> TestClient:
    router = APIRouter()

    @router.get("/raise/{name}")
    async def fail(name: str) -> None:
        raise ERRORS[name]

    @router.get("/number/{n}")
    async def number(n: int) -> int:
        return n

    return TestClient(new_app("test", router), base_url="http://127.0.0.1")


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/raise/gone", HTTPStatus.GONE, "it was &lt;b&gt;here&lt;/b&gt;"),
        ("/raise/missing", HTTPStatus.NOT_FOUND, "iter2/pairs: not made yet"),
        ("/raise/damaged", HTTPStatus.CONFLICT, "a.jsonl:3: damaged line"),
        ("/raise/full", HTTPStatus.SERVICE_UNAVAILABLE, "disk is full"),
        ("/number/seven", HTTPStatus.UNPROCESSABLE_ENTITY, "path.n: Input should be a valid int"),
        ("/nowhere", HTTPStatus.NOT_FOUND, "Not Found"),
    ],
)
def test_an_expected_error_is_a_page_that_says_what_is_wrong(
    client: TestClient, path: str, status: int, words: str
) -> None:
    said = client.get(path)
    assert said.status_code == status
    assert words in said.text
    assert said.headers["content-type"].startswith("text/html")


def test_pages_that_load_scripts_from_elsewhere_are_not_served(client: TestClient) -> None:
    assert client.get("/docs").status_code == HTTPStatus.NOT_FOUND
    assert client.get("/redoc").status_code == HTTPStatus.NOT_FOUND
    assert client.get("/openapi.json").json()["info"]["title"] == "test"


def test_values_are_escaped_and_half_characters_do_not_break_a_page(tmp_path: Path) -> None:
    (tmp_path / "own.html.j2").write_text("{{ words }}|{{ words | plain }}")
    page = Pages(tmp_path).render("own.html.j2", words="<i>\ud83d")
    assert page.body == b"&lt;i&gt;?|&lt;i&gt;\xef\xbf\xbd"
