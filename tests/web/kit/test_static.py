from __future__ import annotations

from http import HTTPStatus
from pathlib import Path

from starlette.testclient import TestClient

from web.kit.app import new_app

HOME = "http://127.0.0.1"


def test_a_browser_that_has_the_file_is_not_sent_it_again() -> None:
    client = TestClient(new_app("test"), base_url=HOME)
    first = client.get("/static/web.css")
    assert first.headers["content-type"].startswith("text/css")
    again = client.get("/static/web.css", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (HTTPStatus.NOT_MODIFIED, b"")


def test_only_style_sheets_and_scripts_are_served_and_no_name_is_a_path(tmp_path: Path) -> None:
    (tmp_path / "own.js").write_text("1")
    (tmp_path / "secret.txt").write_text("2")
    client = TestClient(new_app("test", static=tmp_path), base_url=HOME)
    assert client.get("/static/own.js").text == "1"
    for name in ("secret.txt", "README.md", "../app.py", "..%2fapp.py", "%00", "."):
        assert client.get(f"/static/{name}").status_code == HTTPStatus.NOT_FOUND
