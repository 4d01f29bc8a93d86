from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.thinking import Said, after_thought, answer_of, closing_of, opening_of

# How each model writes a thought and then "Paris.": R1 and Qwen3; R1 where the prompt opened the
# thought and the engine did not see it; prompted chain of thought; Gemini; Seed-OSS; Magistral;
# Command A; gpt-oss, whose <|end|><|start|>assistant between the channels may be dropped.
THOUGHT = (
    "<think>\nFrance? Rome.\n</think>\n\n",
    "France? Rome.\n</think>\n\n",
    "<thinking>Rome.</thinking>\n",
    "<thought>Rome.</thought>",
    "<seed:think>Rome.</seed:think>",
    "[THINK]Rome.[/THINK]",
    "<|START_THINKING|>Rome.<|END_THINKING|>",
    "<|channel|>analysis<|message|>Rome.<|end|><|start|>assistant<|channel|>final<|message|>",
    "<|channel|>commentary<|message|>Rome.<|channel|>final <|constrain|>json<|message|>",
    "<think>Rome.</think>Oslo, rather.<think>No.</think>",
    "<think></think>",
)
UNCLOSED = (
    "<think>\nRome, or",
    "<think>Rome.</think><think>Or",
    "\n <thinking>Rome",
    "[THINK]Rome",
    "<|channel|>analysis<|message|>Rome.<|end|>",
)


@pytest.mark.parametrize("thought", THOUGHT)
def test_what_follows_the_last_end_of_a_thought_is_said(thought: str) -> None:
    said = Said(thought.rstrip(), "Paris.")
    assert after_thought(f"{thought}Paris.") == said
    assert answer_of(f"{thought}Paris.") == said


@pytest.mark.parametrize("text", UNCLOSED)
def test_a_thought_without_its_end_says_nothing(text: str) -> None:
    assert after_thought(text) == answer_of(text) == Said(text, "", unclosed=True)


@pytest.mark.parametrize(
    "text",
    [
        "R1 writes <think> and </think> around its reasoning.",
        "Use a <thinking> tag.",
        "Paris.",
        "",
        " I think so. ",
        "<thinker>Rome</thinker>",
        "<|channel|>analyst",
    ],
)
def test_an_answer_that_talks_about_thinking_stays_whole(text: str) -> None:
    assert answer_of(text) == Said("", text)


def test_a_verdict_is_not_looked_for_behind_a_mark_in_mid_text_unless_it_is_quoted() -> None:
    assert after_thought("Well. <think>Score: 3").unclosed
    assert after_thought("The answer holds a `<think>` block. Score: 3").text.endswith("Score: 3")


@pytest.mark.parametrize(
    ("prompt", "opening"),
    [
        ("<|Assistant|><think>\n", "<think>\n"),
        ("<|im_start|>assistant\n<think>\n\n</think>\n\n", ""),
        ("[THINK]", "[THINK]"),
        ("What is <think>?<|im_end|>\n<|im_start|>assistant\n", ""),
    ],
)
def test_a_prompt_whose_end_opens_a_thought_is_known(prompt: str, opening: str) -> None:
    assert opening_of(prompt) == opening


@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        ("<think>\n", "\n</think>\n\n"),
        ("[THINK]", "\n[/THINK]\n\n"),
        ("<|START_THINKING|>", "\n<|END_THINKING|>\n\n"),
        ("", ""),
    ],
)
def test_what_ends_the_thought_that_a_prompt_opens(opening: str, closing: str) -> None:
    assert closing_of(opening) == closing
    assert not opening or after_thought(f"{opening}{closing}Yes").text == "Yes"


@given(st.text(), st.sampled_from(THOUGHT), st.text())
def test_nothing_of_a_closed_thought_is_left(inside: str, thought: str, after: str) -> None:
    found = after_thought(f"<think>{inside}{thought}{after}")
    assert found.text in (after, after.lstrip(), "")
