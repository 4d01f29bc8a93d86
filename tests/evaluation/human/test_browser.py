"""The study in a real browser: three people at once, one leaves and returns, one undoes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from evaluation.human.prepare import StudySize, prepare_ranking
from evaluation.human.rankings import read_rankings
from evaluation.human.study import StudyFolder, assignment, read_study
from evaluation.human.votes import read_votes
from tests.evaluation.human.studies import comparison, ranked_run, served, without_token

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium (Debian: chromium)"),
]
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
SETTLED = "new Promise(done => setTimeout(done, UNREAD_MS))"  # keys count again (study.js)
HOSTILE = (
    "<script>alert(1); document.title = 'owned'</script>\n"
    "<img src=x onerror=\"document.title='owned'\">\n"
    "![](http://127.0.0.1:1/p.png) [x](javascript:document.title='owned') \u202egnp.exe\n\n"
    "<style>body { display: none }</style> **broken [link](\n\n```\nno end"
)
KEYS = {"left": "ArrowLeft", "tie": "t", "right": "ArrowRight"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield found
        found.close()


@pytest.fixture
def arrive(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open a link in a browser of its own; at the end, nothing may have been logged or thrown."""
    said: list[str] = []
    contexts: list[BrowserContext] = []

    def opened(link: str, **options: object) -> Page:
        context = browser.new_context(**options)  # type: ignore[arg-type]
        contexts.append(context)
        return visit(context, link)

    def visit(context: BrowserContext, link: str) -> Page:
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(link)
        return page

    yield opened
    assert said == []
    for context in contexts:
        context.close()


def wait_for(page: Page, heading: str) -> None:
    page.get_by_role("heading", name=heading, exact=True).wait_for()
    page.evaluate(SETTLED)
    source = page.content() + page.url + page.title() + str(page.context.cookies())
    for name in ("M3", "sft"):
        assert name not in without_token(source, page.url)


def press(page: Page, choice: str, then: str) -> None:
    page.keyboard.press(KEYS[choice])
    wait_for(page, then)


def click(page: Page, name: str, then: str) -> None:
    page.get_by_role("button", name=name).click()
    wait_for(page, then)


def choices(folder: StudyFolder, annotator: str, given: list[str]) -> dict[str, str]:
    """Return what votes for these sides, in this annotator's order, mean."""
    found = {}
    for shown, choice in zip(assignment(read_study(folder), annotator), given, strict=True):
        sides = {"left": "AB"[shown.order[0]], "right": "AB"[shown.order[1]], "tie": "tie"}
        found[shown.item.item] = sides[choice]
    return found


def test_three_people_at_once_complete_a_study(tmp_path: Path, arrive: Callable[..., Page]) -> None:
    folder = comparison(tmp_path / "run")
    with served(folder) as server:
        by_key = arrive(server.links["annotator-1"])
        by_touch = arrive(
            server.links["annotator-2"], viewport={"width": 390, "height": 844}, has_touch=True
        )
        without_scripts = arrive(server.links["annotator-3"], java_script_enabled=False)
        for page in (by_key, by_touch, without_scripts):
            page.get_by_role("link", name="Begin").click()
        wait_for(by_key, "Item 1 of 4")
        wait_for(by_touch, "Item 1 of 4")

        press(by_key, "left", "Item 2 of 4")
        assert by_key.title() == "Item 2 of 4"
        assert by_key.evaluate("document.activeElement.textContent") == "Item 2 of 4"
        by_touch.get_by_role("button", name="Tie").tap()
        wait_for(by_touch, "Item 2 of 4")
        without_scripts.get_by_role("button", name="Answer 2").click()

        # The first one closes the tab and comes back by the link.
        context = by_key.context
        by_key.close()
        by_key = context.new_page()
        by_key.goto(server.links["annotator-1"])
        assert "1 of 4 judged" in by_key.locator("main").inner_text()
        by_key.get_by_role("link", name="Continue").click()
        wait_for(by_key, "Item 2 of 4")

        # The second one has changed their mind: the tie was no tie. A comment is no vote.
        click(by_touch, "Undo the last vote", "Item 1 of 4")
        by_touch.get_by_text("Comment (optional)").first.click()
        by_touch.get_by_label("Comment (optional)").press_sequentially("two typos")
        click(by_touch, "Answer 1", "Item 2 of 4")

        for place in (2, 3, 4):
            then = f"Item {place + 1} of 4" if place < 4 else "Done. Thank you!"
            press(by_key, "right", then)
            by_touch.get_by_role("button", name="Answer 2").tap()
            wait_for(by_touch, then)
            without_scripts.get_by_role("heading", name=f"Item {place} of 4").wait_for()
            source = without_token(without_scripts.content(), without_scripts.url)
            assert "M3" not in source
            without_scripts.get_by_role("button", name="Tie").click()
        without_scripts.get_by_role("heading", name="Done. Thank you!").wait_for()

    votes = read_votes(folder.path)
    for annotator, given in {
        "annotator-1": ["left", "right", "right", "right"],
        "annotator-2": ["left", "right", "right", "right"],
        "annotator-3": ["right", "tie", "tie", "tie"],
    }.items():
        found = {vote.item: vote.choice for vote in votes if vote.annotator == annotator}
        assert found == choices(folder, annotator, given)
    assert [vote.comment for vote in votes if vote.comment] == ["two typos"]
    assert len(folder.votes.read_text().splitlines()) == 12  # exported when all were done


def test_keys_vote_once_and_only_where_nothing_is_typed(tmp_path: Path, browser: Browser) -> None:
    folder = comparison(tmp_path / "run")
    with served(folder) as server:
        page = browser.new_context(color_scheme="dark").new_page()
        page.set_default_timeout(30_000)
        page.goto(server.links["annotator-1"] + "/1")
        page.evaluate(SETTLED)
        page.keyboard.press("Control+ArrowLeft")
        page.keyboard.press("ArrowDown")  # scrolls
        page.get_by_text("Comment (optional)").first.click()
        page.get_by_label("Comment (optional)").press_sequentially("a tie, but ")
        page.keyboard.press("ArrowLeft")
        assert read_votes(folder.path) == []
        page.locator("h1").click()
        page.keyboard.press("t")
        page.keyboard.press("t")  # at once: meant for the same item
        wait_for(page, "Item 2 of 4")
        assert [(v.choice, v.comment) for v in read_votes(folder.path)] == [("tie", "a tie, but")]
        page.keyboard.press("u")
        wait_for(page, "Item 1 of 4")
        assert read_votes(folder.path) == []
        assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == (
            "rgb(16, 19, 24)"
        )
        server.process.kill()
        page.keyboard.press("t")
        # The browser shows that this vote was not kept. (`wait_for_url` fails as the page does.)
        page.wait_for_function("location.protocol == 'chrome-error:'")
        page.context.close()


def test_hostile_replies_are_ranked_on_a_phone(tmp_path: Path, arrive: Callable[..., Page]) -> None:
    run = ranked_run(tmp_path / "run", {"p0": [HOSTILE, "second " * 2000, "x" * 5000]})
    folder = prepare_ranking(run, 2, StudySize(1, 1))
    with served(folder) as server:
        page = arrive(server.links["annotator-1"] + "/1", viewport={"width": 390, "height": 844})
        wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        assert page.evaluate(wide)
        assert "alert(1)" in page.locator("main").inner_text()  # words, and nothing else
        assert page.locator("main img, main script, main style, main [onerror]").count() == 0
        assert page.title() == "Item 1 of 1"
        shown = assignment(read_study(folder), "annotator-1")[0]
        for place, at in enumerate(shown.order):
            page.get_by_label("Rank").nth(place).select_option(str(at + 1))
        click(page, "Submit this ranking", "Done. Thank you!")
    (ranking,) = read_rankings(folder.path)
    assert ranking.ranks == (1, 2, 3)
