from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from core.stages import Ref, Stage
from tests.conftest import ROOT
from tests.web.explorer.made import Markup, made_run, reader
from web.explorer.source import Source


def crawl(client: TestClient, most: int = 10_000) -> dict[str, Markup]:
    """Return the pages that can be reached from the first, the nearest ones first."""
    found: dict[str, Markup] = {}
    waiting = ["/"]
    while waiting and len(found) < most:
        address = waiting.pop(0)
        if address in found:
            continue
        answer = client.get(address)
        assert answer.status_code == 200, f"{address}: {answer.text[-500:]}"
        if answer.headers["content-type"].startswith("text/html"):
            found[address] = Markup(answer.text)
            waiting += [href.partition("#")[0] for href in found[address].links if href[:1] == "/"]
    return found


def contents(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_every_page_can_be_reached_and_nothing_is_written(tmp_path: Path) -> None:
    folder = made_run(tmp_path / "made")
    before = contents(folder)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    with Source(folder) as source:
        source.search.start()
        pages = crawl(reader(source))
        source.search.wait()
    assert contents(folder) == before
    expected = ["/iteration/3", "/iteration/2/pairs", "/iteration/2/self-judge", "/agreement",
                "/head-to-head/prompt?key=p3", "/alpaca-eval/prompt?key=i2", "/nlp/piqa",
                "/mt-bench/question?key=81", "/artifact?address=iter2%2Fhealth",
                "/row?artifact=iter2%2Fcandidates&key=c0%2Ft0%2Fa0"]  # fmt: skip
    assert [address for address in expected if address not in pages] == []
    titles = [page.texts[0] for page in pages.values()]
    assert all(title.endswith(" · made") and len(title) > 10 for title in titles)
    shown = set().union(*(page.elements for page in pages.values()))
    assert "form" in shown and not shown & {"iframe", "img", "object", "embed", "style"}


def test_a_real_run_with_its_evaluation_can_be_read(evaluated: Path) -> None:
    with Source(evaluated / "smoke") as source:
        pages = crawl(reader(source), most=300)
        assert len(pages) == 300
        cells = Markup(reader(source).get("/").text).cells
        outcomes = source.index.outcomes(Ref(2, Stage.PROMPTS))
    row = next(row for row in cells if row[0] == "Iteration 2")
    assert row[1] == f"{outcomes['kept']} kept of {sum(outcomes.values())}"


def test_the_first_page_counts_and_says_what_is_missing(client: TestClient) -> None:
    cells = Markup(client.get("/").text).cells
    assert ["Iteration 2", "2 kept of 3", "4", "8", "1 from 2 prompts", "not made yet"] in cells
    running = next(row for row in cells if row[0] == "Iteration 3")
    assert running[1].startswith("not complete: 2 rows so far")
    assert ["MT-Bench, M1", "failed: the judge went away"] in cells
    assert ["NLP task piqa", "right by every metric: M1 1 of 2; M2 2 of 2"] in cells


def test_a_row_is_shown_letter_by_letter(client: TestClient) -> None:
    page = Markup(client.get("/row?artifact=iter2/prompts&key=c0/t1").text)
    assert page.texts[2:] == ["c0/t1", "Name a tree!", "similar_to_pool", "0", "Name a tree."]


def test_texts_are_markdown_or_raw_as_the_address_says(client: TestClient) -> None:
    address = "/iteration/2/prompt?key=c0/t0"
    assert "<strong>fish</strong>" in client.get(address).text
    raw = client.get(address + "&raw=1").text
    assert "<strong>" not in raw
    assert "Name a **fish**." in Markup(raw).texts


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("/iteration/9", "this run has no iteration 9; there are 0, 1, 2, 3"),
        ("/iteration/2/prompt?key=zz", "no prompt 'zz'; all are at /iteration/2/prompts"),
        ("/iteration/3/prompts", "iter3/prompts: not complete: 2 rows so far"),
        ("/nlp/mmlu", "no task 'mmlu'; there are piqa"),
        ("/nlp/..%2F..%2Fetc", "/nlp/piqa"),
        ("/artifact?address=../../etc/passwd", "there are iter"),
        ("/artifact?address=iter2/../iter2/pairs", "there are iter"),
        ("/row?artifact=eval/../iter2/pairs&key=c0/t0", "no row"),
        ("/mt-bench/question?key=%00", "no question"),
        ("/wp-admin", "there are /, /head-to-head"),
        ("/static/../app.py", "there are /"),
    ],
)
def test_a_404_names_what_exists(client: TestClient, address: str, said: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 404
    assert said in answer.text.replace("&#39;", "'")


@pytest.mark.parametrize(
    "address",
    [
        "/iteration/2/pairs?page=0",
        "/iteration/2/pairs?page=-1",
        "/iteration/2/pairs?page=1e3",
        "/iteration/2/pairs?page=" + "9" * 400,
        "/iteration/" + "9" * 40,
        "/iteration/-1",
        "/iteration/two",
        "/iteration/2/pairs?order=sideways",
        "/head-to-head?show=everything",
        "/iteration/2/prompt",
        "/search?q=" + "x" * 301,
    ],
)
def test_a_query_out_of_bounds_is_refused(client: TestClient, address: str) -> None:
    assert client.get(address).status_code == 422


def test_a_page_after_the_last_is_empty_and_leads_back(client: TestClient) -> None:
    page = Markup(client.get("/iteration/2/judgments?page=1000000").text)
    assert page.cells == []
    assert client.get("/search?q=a&page=1000000").status_code == 200


def test_pages_of_a_list_keep_its_filters(client: TestClient, source: Source) -> None:
    from web.explorer import pages

    assert pages.link("/x", a="ü&=#", b=None, c="") == "/x?a=%C3%BC%26%3D%23"
    listing = pages.Listing("t", (), (), total=101, page=2)
    assert listing.pages == 3  # 50, 50 and 1
    assert list(pages.on_page(range(101), 3)) == [100]
    assert sum(source.index.outcomes(Ref(2, Stage.JUDGMENTS)).values()) == 8


def test_nothing_can_be_changed_over_http(client: TestClient) -> None:
    for address in ("/", "/iteration/2/pairs", "/search"):
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert client.request(method, address).status_code == 405


def test_another_host_name_is_not_answered(client: TestClient) -> None:
    assert client.get("/", headers={"host": "attacker.example"}).status_code == 421


def test_the_policy_lets_a_page_load_only_its_own(client: TestClient) -> None:
    policy = client.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_the_command_refuses_a_folder_that_is_no_run_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "evaluation", "explore", "--run", str(tmp_path), "--port", "0"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1 and "not a run" in done.stderr
