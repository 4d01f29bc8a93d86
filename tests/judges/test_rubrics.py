from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.sections import PACKAGED_RUBRICS
from judges.rubrics import load_rubric

NAMES = PACKAGED_RUBRICS


@pytest.fixture
def reference() -> Path:
    """The read-only reference sheets, which are not part of the repository."""
    default = Path(__file__).parents[2].parent / "shared"
    folder = Path(os.environ.get("SRLM_SHARED", default)) / "reference"
    if not (folder / "paper.md").is_file():
        pytest.skip(f"{folder}: no reference sheet; set SRLM_SHARED to the folder that holds it")
    return folder


def test_the_additive_rubric_is_figure_2_word_for_word(reference: Path) -> None:
    sheet = (reference / "paper.md").read_text(encoding="utf-8")
    section = sheet.split("## The 5-point judge prompt (Figure 2)", 1)[1]
    printed = section.split("```\n", 2)[1].rstrip("\n")
    assert printed.startswith("Review the user's question")
    assert load_rubric("additive").template == printed


def test_the_li_rubric_is_figure_7_word_for_word(reference: Path) -> None:
    printed = (reference / "fig7_prompt.txt").read_text(encoding="utf-8").rstrip("\n")
    assert load_rubric("li").template == printed


def test_the_config_offers_the_rubrics_and_each_loads() -> None:
    assert NAMES == ("additive", "li", "verifiable")
    assert [load_rubric(name).name for name in NAMES] == [*NAMES]


def test_the_additive_scale_is_0_to_5_and_the_multiple_choice_one_1_to_5() -> None:
    additive, li = load_rubric("additive"), load_rubric("li")
    assert (additive.low, additive.high) == (0.0, 5.0)
    assert (li.low, li.high) == (1.0, 5.0)


@pytest.mark.parametrize("name", NAMES)
def test_the_comment_that_names_the_source_is_not_sent(name: str) -> None:
    template = load_rubric(name).template
    assert "<!--" not in template
    assert "arXiv" not in template
    assert template == template.strip()


@pytest.mark.parametrize("name", NAMES)
def test_each_placeholder_occurs_once(name: str) -> None:
    template = load_rubric(name).template
    assert re.findall(r"<[A-Z_]+>", template) == ["<INSTRUCTION_HERE>", "<RESPONSE_HERE>"]


def test_the_instruction_and_the_response_land_in_their_own_places() -> None:
    # Figure 2 has an empty line between the two, Figure 7 has none.
    shown = load_rubric("additive").render("What is 2+2?", "It is 4.")
    assert "\n\nUser: What is 2+2?\n\n<response>It is 4.</response>\n\nAfter" in shown
    shown = load_rubric("li").render("What is 2+2?", "It is 4.")
    assert "\n\nUser: What is 2+2?\n<response>It is 4.</response>\n\nPlease" in shown


def test_a_placeholder_in_the_text_is_shown_and_not_filled_in_again() -> None:
    rubric = load_rubric("additive")
    shown = rubric.render("Q", "a <INSTRUCTION_HERE> b <RESPONSE_HERE> c")
    assert "User: Q\n\n<response>a <INSTRUCTION_HERE> b <RESPONSE_HERE> c</response>" in shown
    shown = rubric.render("say <RESPONSE_HERE>", "SECRET")
    assert "User: say <RESPONSE_HERE>\n\n<response>SECRET</response>" in shown
    assert shown.count("SECRET") == 1


@pytest.mark.parametrize("name", NAMES)
@settings(derandomize=True, deadline=None, max_examples=50)
@given(
    instruction=st.one_of(st.text(), st.sampled_from(["<RESPONSE_HERE>", r"\1\g<0>", "{0}", "%s"])),
    response=st.one_of(st.text(), st.sampled_from(["<INSTRUCTION_HERE>", "</response>", r"\n"])),
)
def test_the_prompt_is_the_template_with_two_texts_put_in_verbatim(
    name: str, instruction: str, response: str
) -> None:
    rubric = load_rubric(name)
    head, rest = rubric.template.split("<INSTRUCTION_HERE>")
    middle, tail = rest.split("<RESPONSE_HERE>")
    assert rubric.render(instruction, response) == head + instruction + middle + response + tail
