"""The documentation names only files, links, headings and tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "data").rglob("*.md")])
INDEX = ROOT / "docs" / "paper_index.md"
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_PRODUCT = "core|engines|judges|training|evaluation|web|reports|benchmarks|tests|tools|configs|data"
_PATH = re.compile(
    rf"(?<![\w/.-])((?:{_PRODUCT}|docs)/"
    r"(?:[\w./-]*?\w\.(?:py|md|toml|json|yaml|txt|js|jinja|j2)\b|(?:\w+/)+))"
)


def _anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file_and_heading(page: Path) -> None:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    for link in _LINK.findall(text):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in _anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    if page.name == "CHANGELOG.md":
        pytest.skip("a changelog names files of earlier versions")
    text = _LINK.sub("", page.read_text(encoding="utf-8"))
    named = set(_PATH.findall(text))
    places = (ROOT, ROOT / "tests") if page == INDEX else (ROOT,)
    assert [path for path in named if not any((place / path).exists() for place in places)] == []


def _tests_of_the_index() -> list[tuple[str, str]]:
    """Return (test file, test function or "") as the paper index names them."""
    found: list[tuple[str, str]] = []
    for line in INDEX.read_text(encoding="utf-8").splitlines():
        file = ""
        for path, name in re.findall(r"([\w/]*\btest_\w+\.py)|`(\w+)`", line):
            if path:
                file = path.removeprefix("tests/")
                found.append((file, ""))
            elif file:
                found.append((file, f"test_{name}"))
    return found


def test_every_test_of_the_paper_index_exists() -> None:
    named = _tests_of_the_index()
    assert len(named) > 150
    missing = []
    for file, function in named:
        path = ROOT / "tests" / file
        if not path.is_file():
            missing.append(file)
        elif function and f"def {function}(" not in path.read_text(encoding="utf-8"):
            missing.append(f"{file}: {function}")
    assert missing == []


def test_the_index_of_decisions_lists_each_with_its_title() -> None:
    folder = ROOT / "docs" / "decisions"
    lines = []
    for page in sorted(folder.glob("[0-9]*.md")):
        number, _, title = page.read_text(encoding="utf-8").partition("\n")[0][2:].partition(" ")
        lines.append(f"- [{number}]({page.name}) {title}")
    index = (folder / "README.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in index if line.startswith("- ")] == lines
