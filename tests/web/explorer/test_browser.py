"""The explorer in a real browser: hostile text, the keyboard, a phone, without scripts."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page

from tests.web.explorer.made import made_run
from tests.web.explorer.test_hostile import HOSTILE, hostile_run
from web.explorer.app import explorer_app
from web.explorer.pages import link
from web.explorer.source import Source
from web.kit.serving import address_of, open_port

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium (Debian: chromium)"),
]
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
PHONE = {"width": 390, "height": 844}
NO_SIDEWAYS = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield found
        found.close()


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Serve the made run and the hostile one; their addresses by name."""
    folder = tmp_path_factory.mktemp("runs")
    sources = {
        "made": Source(made_run(folder / "made")),
        "hostile": Source(hostile_run(folder / "hostile")),
    }
    addresses, servers, threads = {}, [], []
    for name, source in sources.items():
        opened = open_port("127.0.0.1", 0)
        addresses[name] = address_of(opened)
        server = uvicorn.Server(uvicorn.Config(explorer_app(source), log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]})
        thread.start()
        servers.append(server)
        threads.append(thread)
    while not all(server.started for server in servers):
        time.sleep(0.01)
    yield addresses
    for server in servers:
        server.should_exit = True
    for thread in threads:
        thread.join()
    for source in sources.values():
        source.close()


@pytest.fixture
def visit(browser: Browser, serving: dict[str, str]) -> Iterator[Callable[..., Page]]:
    """Open a page; at the end, nothing may have been said, asked, run, or fetched elsewhere."""
    said: list[str] = []
    contexts: list[BrowserContext] = []

    def opened(run: str, address: str, **options: object) -> Page:
        context = browser.new_context(**options)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        home = serving[run]
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.on(
            "request",
            lambda asked: said.append(asked.url) if not asked.url.startswith(home) else None,
        )
        page.goto(home + address)
        return page

    yield opened
    assert said == []
    for context in contexts:
        assert all("owned" not in page.title() for page in context.pages)
        context.close()


@pytest.mark.parametrize("at", range(len(HOSTILE)))
def test_hostile_text_runs_nothing_and_does_not_change_the_page(
    visit: Callable[..., Page], at: int
) -> None:
    key = f"{at}\"'><script>/{HOSTILE[at][:20]}"
    for raw in (None, "1"):
        page = visit("hostile", link("/iteration/2/prompt", key=key, raw=raw), viewport=PHONE)
        assert page.locator("h1").is_visible()
        assert page.evaluate(NO_SIDEWAYS)
        assert page.locator("main img, main script, main iframe, main style").count() == 0
        outside = page.locator("main .text a").evaluate_all("all => all.map(a => a.protocol)")
        assert set(outside) <= {"http:", "https:"}
        # The words after a right-to-left override still stand left to right, beside its name.
        if at == 5 and raw:
            assert page.locator(".text").first.inner_text() == (
                "[U+202E]evil[U+202C] abc[U+2066]def[U+2069]"
            )


def test_lists_of_hostile_words_stay_in_their_columns(visit: Callable[..., Page]) -> None:
    for address in ("/", "/iteration/2/prompts", "/iteration/2/judgments", "/iteration/2/pairs",
                    "/head-to-head", "/search?q=script"):  # fmt: skip
        page = visit("hostile", address, viewport=PHONE)
        assert page.evaluate(NO_SIDEWAYS)


def test_a_reader_gets_from_the_run_to_the_judges_words_without_scripts(
    visit: Callable[..., Page],
) -> None:
    page = visit("made", "/", java_script_enabled=False)
    page.get_by_role("link", name="1 from 2 prompts").click()
    page.get_by_label("Outcome").select_option("pair")
    page.get_by_role("button", name="Show").click()
    assert "outcome=pair" in page.url
    page.get_by_role("link", name="Name a **fish**.").click()
    chosen = page.locator("article", has=page.locator("header", has_text="c0/t0/a0"))
    assert "Right and complete, and long enough. Score: 5" in chosen.inner_text()
    page.get_by_role("link", name="Show raw texts").click()
    assert page.locator("pre", has_text="Name a **fish**.").first.is_visible()
    page.get_by_label("Search this run").fill("whales")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="Whales").click()
    assert page.locator("h1").inner_text() == "Iteration 2: prompt c0/t0"


def test_the_keyboard_alone_leads_to_a_prompt(visit: Callable[..., Page]) -> None:
    page = visit("made", "/iteration/2/prompts")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Count to three.":
            break
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Iteration 2: prompt c0/t2").wait_for()


def test_an_address_points_at_a_candidate(visit: Callable[..., Page]) -> None:
    page = visit("made", "/iteration/2/judgments?outcome=no_score")
    page.get_by_role("link", name="Who knows?").click()
    page.locator("article:target", has_text="Whales").wait_for()


def test_pages_follow_the_dark_colour_scheme(visit: Callable[..., Page]) -> None:
    shades = {}
    for scheme in ("light", "dark"):
        page = visit("made", "/", color_scheme=scheme)
        shades[scheme] = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert shades == {"light": "rgb(255, 255, 255)", "dark": "rgb(16, 19, 24)"}
