"""The HTML report in a real browser: by pointer, by keyboard, on a phone, on paper."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from core.stages import Stage, evaluation_ref
from core.store import Store
from reports.build import build
from reports.formats.html import render
from tests.reports.documents import (
    ALPACA_ROWS,
    ANNOTATIONS,
    HOSTILE,
    HOSTILE_ROWS,
    JUDGE_WORDS,
    WHY_FAILED,
    report,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from core.records import Annotation

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium (Debian: chromium)"),
]
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDE, NARROW = (1280, 900), (390, 844)
MOST_STOPS = 60  # of the keyboard, before a test gives up


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield found
        found.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    file: Path = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(render(report()), encoding="utf-8")
    return file.as_uri()


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Callable[..., Page]]:
    """Open the report; at the end, nothing may have been logged, thrown, fetched or run."""
    said: list[str] = []
    contexts = []

    def opened(
        hash_: str = "", *, size: tuple[int, int] = WIDE, before: str = "", **options: Any
    ) -> Page:
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda asked: said.append(asked.url))
        if before:
            page.add_init_script(before)
        page.goto(address + hash_)
        assert said.pop(0).partition("#")[0] == address  # the page itself, the only request
        return page

    yield opened
    assert said == []
    for context in contexts:
        assert "owned" not in context.pages[0].title()
        context.close()


def drill(page: Page, table: str = "alpaca_eval") -> Any:
    return page.locator(f"#t-{table} button.drill").first


def rows_of(page: Page, table: str) -> list[str]:
    return page.locator(f"#t-{table} tbody tr:not(.heading) .label").all_inner_texts()


def press_until(page: Page, condition: str) -> None:
    """Press Tab until the focused element fits."""
    for _ in range(MOST_STOPS):
        page.keyboard.press("Tab")
        if page.evaluate(f"(() => {{ const at = document.activeElement; return {condition}; }})()"):
            return
    pytest.fail(f"{MOST_STOPS} stops of the keyboard without {condition}")


def is_inside_the_panel(page: Page) -> bool:
    return bool(page.evaluate("document.activeElement.closest('dialog') !== null"))


@pytest.mark.parametrize("size", [WIDE, NARROW])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_opens_and_only_its_tables_scroll_sideways(
    visit: Callable[..., Page], size: tuple[int, int], scheme: str
) -> None:
    page = visit(size=size, color_scheme=scheme)
    assert not page.get_by_text("JavaScript is off.").is_visible()
    wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    assert page.evaluate(wide)
    table = page.locator("#t-mt_bench .scroll")
    assert table.evaluate("box => box.scrollWidth > box.clientWidth && box.tabIndex === 0")
    # The first column stays where it is while the others pass below it.
    label = table.locator("tbody tr:nth-child(2) th")
    before = label.bounding_box()
    table.evaluate("box => { box.scrollLeft = 150; }")
    assert table.evaluate("box => box.scrollLeft") == 150
    assert label.bounding_box() == before
    dark = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (dark == "rgb(255, 255, 255)") == (scheme == "light")


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_a_click_on_a_number_leads_to_the_judges_words_and_the_pair(
    visit: Callable[..., Page], size: tuple[int, int]
) -> None:
    page = visit(size=size)
    drill(page).click()
    panel = page.get_by_role("dialog", name="AlpacaEval comparisons of M2")
    panel.wait_for()
    told = panel.locator(".origin-number").inner_text()
    assert told.startswith("AlpacaEval 2.0 · M2 · Win rate % · 14.66, 95 % interval [12.30, 17.10]")
    how_many = "showing 3 of 805 rows; all in eval/M2/alpaca_eval/annotations"
    assert panel.locator(".how-many").inner_text().startswith(how_many)
    panel.get_by_role("button", name="How does a harbour work?").click()
    words = page.locator(".words-of", has_text="The judge’s words").locator("pre")
    words.wait_for()
    assert words.inner_text() == JUDGE_WORDS
    assert page.url.endswith("#rows/alpaca_eval%2FM2/alpaca%2F000")
    page.get_by_role("button", name="The resulting pair").click()
    page.get_by_role("dialog", name="p0").wait_for()
    assert page.locator(".words-of pre").all_inner_texts() == [
        "the better answer to 0",
        "the worse one to 0",
    ]
    page.go_back()
    page.get_by_role("dialog", name="alpaca/000").wait_for()
    page.go_back()
    page.go_back()
    page.locator("dialog:not([open])").wait_for(state="attached")
    assert "#rows" not in page.url


def test_the_keyboard_alone_leads_to_the_judges_words_and_back(visit: Callable[..., Page]) -> None:
    page = visit()
    of_m2 = f"at.dataset.rows === '{ALPACA_ROWS}' && at.closest('#t-alpaca_eval') !== null"
    press_until(page, of_m2)
    page.keyboard.press("Enter")
    page.locator("dialog[open] button.row").first.wait_for()
    assert is_inside_the_panel(page)
    press_until(page, "at.matches('button.row')")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.get_by_role("dialog", name="alpaca/001").wait_for()
    assert JUDGE_WORDS in page.locator("dialog").inner_text()
    # Stepping keeps the focus on the step; going back, it is on the row that was last open.
    press_until(page, "at.textContent === 'Next'")
    page.keyboard.press("Enter")
    page.get_by_role("dialog", name="alpaca/002").wait_for()
    assert is_inside_the_panel(page)
    page.get_by_role("button", name="All rows").press("Enter")
    page.locator("button.row:focus", has_text="Write a haiku").wait_for()
    page.keyboard.press("Escape")
    page.locator("dialog:not([open])").wait_for(state="attached")
    assert page.evaluate(f"(() => {{ const at = document.activeElement; return {of_m2}; }})()")
    page.wait_for_url(lambda url: "#rows" not in url)


def test_the_chain_leads_from_a_row_to_the_sources_outside_the_run(
    visit: Callable[..., Page],
) -> None:
    page = visit("#rows/alpaca_eval%2FM2/alpaca%2F000")
    chain = page.locator("#panel-body > .chain")
    chain.locator("summary", has_text=ANNOTATIONS).wait_for()  # rows are unpacked as they open
    assert chain.locator("summary", has_text=ANNOTATIONS).count() == 1  # already open
    for name in ("eval/M2/alpaca_eval/answers", "iter2/model", "iter2/pairs", "iter2/candidates",
                 "iter2/prompts", "iter1/ift"):  # fmt: skip
        chain.get_by_text(name, exact=True).last.click()
    source = chain.locator("li.outside", has_text="oasst1.jsonl")
    source.wait_for()
    assert source.inner_text().endswith("external source")
    facts = chain.locator("li", has_text="iter1/ift").last.locator(".facts").first
    shown = facts.inner_text().split("\n")
    assert dict(zip(shown[::2], shown[1::2], strict=True)) == {
        "File": "iter1/ift.jsonl",
        "Rows": "3,200",
        "Counts": "finished 3,200, failed 3",
        "Code version": "0.1.0+3f9c2e1",
        "Seed": "0",
        "Finished": "2026-11-20T09:12:44Z",
        "Duration": "73.3 s",
        # sha256sum of the text "iter1/ift", which documents.py takes for the file's.
        "sha256": shown[-1],
    }
    assert len(shown[-1]) == 64
    config = chain.locator("details.config").first
    config.locator("summary").click()
    assert '"note": "</script>"' in config.locator("pre").inner_text()


def test_a_tables_head_sorts_it_by_pointer_and_by_key(visit: Callable[..., Page]) -> None:
    page = visit()
    assert rows_of(page, "piqa") == ["M0", "SFT", "M1", "M2", "M3"]
    head = page.locator("#t-piqa thead th").nth(1)
    # 68.4, 9.0, failed, 67.3, missing: as numbers, and what is missing last in both directions.
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert rows_of(page, "piqa") == ["M0", "M2", "SFT", "M1", "M3"]
    head.get_by_role("button").press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert rows_of(page, "piqa") == ["SFT", "M2", "M0", "M1", "M3"]
    head.get_by_role("button").press("Space")
    assert head.get_attribute("aria-sort") is None
    assert rows_of(page, "piqa") == ["M0", "SFT", "M1", "M2", "M3"]


def test_sorting_puts_published_rows_among_measured_ones_and_marks_each(
    visit: Callable[..., Page],
) -> None:
    page = visit()
    page.locator("#t-alpaca_eval thead button").nth(1).click()
    assert rows_of(page, "alpaca_eval") == [
        "GPT-4 0314", "Claude 2", "M2", "Humpback LLaMa2 70B", "M1", "Alpaca 7B", "M3",
    ]  # fmt: skip
    tags = page.locator("#t-alpaca_eval .tag")
    assert [tags.nth(at).bounding_box()["width"] > 10 for at in range(4)] == [True] * 4  # type: ignore[index]


def test_long_lists_come_in_parts_and_can_be_filtered(visit: Callable[..., Page]) -> None:
    page = visit()
    drill(page, "piqa").click()
    rows = page.locator("dialog button.row")
    rows.first.wait_for()
    assert rows.count() == 200
    page.get_by_role("button", name="Show 200 more of 250").click()
    assert rows.count() == 400
    assert rows.nth(200).evaluate("row => row === document.activeElement")
    page.get_by_role("button", name="Show 50 more of 50").click()
    assert rows.count() == 450
    # "goal 17", "goal 170" to "goal 179", "goal 117", 217, 317 and 417.
    page.get_by_label("Filter").fill("GOAL 17")
    page.get_by_text("11 match").wait_for()
    assert rows.count() == 11
    rows.nth(1).click()
    page.get_by_role("dialog", name="piqa/170").wait_for()
    assert "2 of 11" in page.locator(".neighbours").inner_text()
    page.get_by_role("button", name="Back").click()
    page.get_by_text("11 match").wait_for()
    assert page.get_by_label("Filter").input_value() == "GOAL 17"


def test_hostile_words_are_only_ever_words(visit: Callable[..., Page]) -> None:
    page = visit()
    drill(page, "strangers").click()
    page.locator("dialog button.row").first.wait_for()
    assert page.locator("dialog h2").inner_text() == HOSTILE[1]
    page.locator("dialog button.row").nth(2).click()
    page.get_by_role("dialog", name="hostile/2").wait_for()
    # The browser itself replaces the half character by U+FFFD.
    shown = [
        page.locator(".words-of pre").nth(at).evaluate("pre => pre.textContent") for at in range(7)
    ]
    assert shown[:6] == list(HOSTILE[:6])
    assert shown[6].startswith(HOSTILE[6].partition("\ud83d")[0])
    assert (
        page.locator("dialog img, dialog script, dialog style, main img, main script").count() == 0
    )
    assert "row x of no such group is not in this report" in page.locator(".ways").inner_text()
    assert page.evaluate("document.querySelector('dialog').scrollWidth <= innerWidth")
    assert page.locator(f"[data-rows='{HOSTILE_ROWS}']").count() == 1 + len(HOSTILE)


def test_an_address_opens_its_row_and_says_when_the_row_is_not_kept(
    visit: Callable[..., Page],
) -> None:
    page = visit("#rows/nlp%2FM2%2Fpiqa/piqa%2F449")
    page.get_by_role("dialog", name="piqa/449").wait_for()
    page = visit("#rows/nlp%2FM2%2Fpiqa/piqa%2F1700")
    page.get_by_text("Row piqa/1700 was left out of this report").wait_for()
    page = visit("#rows/unknown")
    page.get_by_text("It has no rows called unknown").wait_for()
    page = visit("#rows/%E0%A4%A")  # no valid address
    assert page.locator("dialog[open]").count() == 0


def test_without_scripts_everything_but_the_rows_can_be_read(visit: Callable[..., Page]) -> None:
    page = visit(java_script_enabled=False)
    assert page.get_by_text("JavaScript is off.").is_visible()
    assert page.get_by_text("Other base model than the paper’s").is_visible()
    assert drill(page).is_disabled()
    assert (
        drill(page).get_attribute("title") == "Showing the rows behind this number needs JavaScript"
    )
    reason = page.locator("#t-piqa details.why")
    reason.locator("summary").click()
    assert WHY_FAILED in reason.inner_text()


def test_a_browser_that_cannot_unpack_says_so(visit: Callable[..., Page]) -> None:
    page = visit(before="delete window.DecompressionStream")
    drill(page).click()
    page.get_by_text("This browser cannot unpack the rows").wait_for()


def test_a_phones_contents_open_and_close(visit: Callable[..., Page]) -> None:
    page = visit(size=NARROW)
    link = page.locator("#contents-list").get_by_role("link", name="MT-Bench", exact=True)
    toggle = page.get_by_role("button", name="Contents")
    assert not link.is_visible()
    toggle.click()
    assert toggle.get_attribute("aria-expanded") == "true"
    link.click()
    assert not link.is_visible()
    top = page.locator("#s-mt_bench").evaluate(
        "part => new Promise(done => setTimeout(() => done(part.getBoundingClientRect().top), 900))"
    )
    assert 0 <= top < 120  # below the bar, in view


def test_paper_shows_whole_tables_and_nothing_that_needs_a_screen(
    visit: Callable[..., Page],
) -> None:
    page = visit(size=(695, 900))  # A4 without its margins: 184 mm at 96 pixels per inch
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    for hidden in ("#contents", "dialog", ".words"):
        assert not page.locator(hidden).first.is_visible()
    widths = page.locator("main table").evaluate_all(
        "tables => tables.map(table => Math.ceil(table.getBoundingClientRect().right))"
    )
    assert len(widths) == 7
    assert max(widths) <= 695
    assert page.get_by_text(WHY_FAILED).first.is_visible()


def test_in_a_real_runs_report_a_cell_leads_to_the_judges_words_and_to_the_weights(
    browser: Browser, evaluated: Path, tmp_path: Path
) -> None:
    run = evaluated / "smoke"
    page_file = build(run, tmp_path / "out")[0]
    said: list[str] = []
    page = browser.new_page()
    page.set_default_timeout(30_000)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda message: said.append(message.text))
    page.goto(page_file.as_uri())
    row = page.locator("#t-alpaca_eval tbody tr", has=page.locator(".label", has_text="M2"))
    row.locator("button.drill").first.click()
    page.locator("dialog[open] button.row").first.click()
    words = page.locator(".words-of", has_text="The judge's reply").locator("pre")
    words.wait_for()
    # What is on the screen is what the artifact holds.
    annotations: list[Annotation] = Store(run).read(
        evaluation_ref("M2/alpaca_eval", Stage.ANNOTATIONS)
    )
    shown = page.locator(".words-of pre").all_text_contents()
    key = page.url.rpartition("/")[2]
    (found,) = [row for row in annotations if row.key == key]
    assert found.instruction in shown
    assert found.output_1 in shown  # the reference's; M2's random words may hold what no page can
    chain = page.locator("dialog[open]").inner_text()
    assert "eval/M2/alpaca_eval/annotations" in chain
    page.close()
    assert said == []
