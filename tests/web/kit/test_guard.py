"""What is refused before any page sees it, and the headers of every answer."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus

import pytest
from fastapi import APIRouter, Request
from starlette.testclient import TestClient

from web.kit.app import new_app
from web.kit.guard import MOST_ADDRESS_BYTES, MOST_BODY_BYTES

HOME = "http://127.0.0.1:8766"


def echo() -> APIRouter:
    router = APIRouter()

    @router.post("/echo")
    async def length(request: Request) -> int:
        return len(await request.body())

    return router


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(new_app("test", echo()), base_url=HOME) as opened:
        yield opened


@pytest.mark.parametrize("path", ["/openapi.json", "/static/web.css", "/nothing", "/echo"])
def test_every_answer_has_the_headers_that_keep_a_browser_safe(
    client: TestClient, path: str
) -> None:
    headers = client.get(path).headers
    policy = dict(
        part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["form-action"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == ("no-cache" if "static" in path else "no-store")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8766", HTTPStatus.OK),
        ("LOCALHOST", HTTPStatus.OK),
        ("[::1]:8766", HTTPStatus.OK),
        ("evil.example", HTTPStatus.MISDIRECTED_REQUEST),
        ("127.0.0.1.evil.example:8766", HTTPStatus.MISDIRECTED_REQUEST),
        ("", HTTPStatus.MISDIRECTED_REQUEST),
    ],
)
def test_only_loopbacks_names_are_answered(client: TestClient, host: str, status: int) -> None:
    assert client.get("/openapi.json", headers={"host": host}).status_code == status


def test_a_server_for_others_answers_to_any_name() -> None:
    with TestClient(new_app("test", hosts=None), base_url="http://team.example") as opened:
        assert opened.get("/openapi.json").status_code == HTTPStatus.OK


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, HTTPStatus.OK),  # no browser, or an old one: the form's code decides
        ({"origin": HOME}, HTTPStatus.OK),
        ({"origin": "null"}, HTTPStatus.OK),  # what Referrer-Policy: no-referrer makes of it
        ({"origin": "null", "sec-fetch-site": "same-origin"}, HTTPStatus.OK),
        ({"origin": "null", "sec-fetch-site": "cross-site"}, HTTPStatus.FORBIDDEN),
        ({"sec-fetch-site": "same-site"}, HTTPStatus.FORBIDDEN),
        ({"origin": "http://127.0.0.1:9999"}, HTTPStatus.FORBIDDEN),  # another port, another page
        ({"origin": "http://evil.example"}, HTTPStatus.FORBIDDEN),
        ({"origin": "http://[broken"}, HTTPStatus.FORBIDDEN),
    ],
)
def test_a_post_that_another_page_sent_is_refused(
    client: TestClient, headers: dict[str, str], status: int
) -> None:
    assert client.post("/echo", content=b"x", headers=headers).status_code == status


def test_a_body_is_taken_up_to_the_limit_and_not_a_byte_more(client: TestClient) -> None:
    whole = client.post("/echo", content=b"x" * MOST_BODY_BYTES)
    assert (whole.status_code, whole.json()) == (HTTPStatus.OK, MOST_BODY_BYTES)
    over = client.post("/echo", content=b"x" * (MOST_BODY_BYTES + 1))
    assert over.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE


def test_a_body_in_parts_without_a_length_is_counted(client: TestClient) -> None:
    parts = (b"x" * 1024 for _ in range(MOST_BODY_BYTES // 1024 + 1))
    over = client.post("/echo", content=parts)
    assert over.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE


@pytest.mark.parametrize("length", ["-1", "many", "9" * 400])
def test_an_invalid_content_length_is_refused(client: TestClient, length: str) -> None:
    said = client.post("/echo", content=b"", headers={"content-length": length})
    assert said.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE


def test_too_long_an_address_is_refused(client: TestClient) -> None:
    assert client.get("/" + "a" * MOST_ADDRESS_BYTES).status_code == HTTPStatus.REQUEST_URI_TOO_LONG
    query = client.get("/openapi.json", params={"q": "a" * MOST_ADDRESS_BYTES})
    assert query.status_code == HTTPStatus.REQUEST_URI_TOO_LONG
