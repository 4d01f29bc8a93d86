from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import JudgeFailed
from core.records import Tag
from core.stages import Stage, evaluation_ref
from evaluation.alpaca_eval.files import AlpacaPrompt, instruction_key
from evaluation.alpaca_eval.scores import breakdown
from evaluation.alpaca_eval.tags import LENGTHS, read_tag, tag, tagging_prompt
from judges.asking import Reply
from tests.evaluation.alpaca import ScriptedJudge, annotation
from tests.training.making import made

if TYPE_CHECKING:
    from pathlib import Path

    from judges.asking import Ask

COOKING, CODING = "Cooking / Recipes", "Software Development / Coding / Algorithms"
GOOD = "Category: Cooking / Recipes\nComplexity: 3\nLength: 1 paragraph"


def read(text: str) -> tuple[str | None, int | None, str | None, str | None]:
    found = read_tag(Reply("k", text, "stop"))
    assert (found.key, found.reply) == ("k", text)
    return found.category, found.complexity, found.length, found.unparsed


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        "Category: Cooking / Recipes, Complexity: 3, Length: 1 paragraph",
        "Category: cooking/recipes. Complexity: 3/10. Length: (c) 1 paragraph.",
        "**Category:** Cooking / Recipes\n**Complexity:** 3 out of 10\n**Length:** c\n",
        'Category: "Cooking / Recipes"\nComplexity: 3.0\nLength: (c)',
        "Category: History / Social Studies, Complexity: 9, Length: a\nNo, rather:\n" + GOOD,
        GOOD + "\nI hope this helps!",
    ],
)
def test_a_tag_is_read_in_the_forms_judges_write(text: str) -> None:
    assert read(text) == (COOKING, 3, "1 paragraph", None)


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        (GOOD.replace("Cooking", "Baking"), (None, 3, "1 paragraph", "category")),
        (GOOD.replace("3", "11"), (COOKING, None, "1 paragraph", "complexity")),
        (GOOD.replace("3", "0"), (COOKING, None, "1 paragraph", "complexity")),
        (GOOD.replace("3", "3-4"), (COOKING, None, "1 paragraph", "complexity")),
        (GOOD.replace("1 paragraph", "a page"), (COOKING, 3, None, "length")),
        (GOOD.replace("1 p", "(a) 1 p"), (COOKING, 3, None, "length")),  # (a) is 1 sentence
        ("Category: Cooking / Recipes", (COOKING, None, None, "complexity+length")),
        ("Preheat the oven.", (None, None, None, "category+complexity+length")),
        (" \n", (None, None, None, "empty")),
        (f"<think>{GOOD}", (None, None, None, "empty")),
        (
            f"<think>{GOOD}</think>Category: Cooking / Recipes",
            (COOKING, None, None, "complexity+length"),
        ),
    ],
)
def test_a_field_that_cannot_be_read_is_none_and_named(
    text: str, tag: tuple[str | None, int | None, str | None, str | None]
) -> None:
    assert read(text) == tag


@pytest.mark.parametrize("length", LENGTHS)
def test_each_length_is_read_by_name_and_by_letter(length: str) -> None:
    letter = "abcde"[LENGTHS.index(length)]
    for said in (length, f"({letter})", f"({letter}) {length}", f"{letter}) {length}"):
        assert read(f"Length: {said}")[2] == length


@pytest.mark.parametrize("category", tagging_prompt().categories)
def test_each_category_is_read(category: str) -> None:
    assert read(f"Category: {category}, Complexity: 10, Length: e")[:2] == (category, 10)


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_words_give_a_tag_whose_fields_are_valid_or_named_as_unread(text: str) -> None:
    category, complexity, length, unparsed = read(text)
    assert category is None or category in tagging_prompt().categories
    assert complexity is None or 1 <= complexity <= 10
    assert length is None or length in LENGTHS
    assert (unparsed is None) == (None not in (category, complexity, length))


@settings(deadline=None)
@given(
    st.sampled_from(tagging_prompt().categories),
    st.integers(1, 10),
    st.sampled_from(LENGTHS),
    st.sampled_from([", ", "\n", ";  ", ". "]),
)
def test_what_is_written_in_the_asked_form_is_read_back(
    category: str, complexity: int, length: str, between: str
) -> None:
    parts = (f"Category: {category}", f"Complexity: {complexity}", f"Length: {length}")
    assert read(between.join(parts)) == (category, complexity, length, None)


def test_the_prompt_names_20_categories_and_does_not_send_its_source() -> None:
    prompt = tagging_prompt()
    assert len(set(prompt.categories)) == 20
    assert prompt.before == "Instruction: "
    assert "arXiv" not in prompt.before + prompt.after
    assert all(length in prompt.after for length in LENGTHS)


PROMPTS = [
    AlpacaPrompt(instruction_key(text), text, "")
    for text in ("Bake bread", "Sort a list <INSTRUCTION_HERE>", "Say hi")
]
TAGS = evaluation_ref("tags/alpaca_eval", Stage.TAGS)


def test_each_instruction_is_asked_about_once_and_its_reply_kept(tmp_path: Path) -> None:
    def says(ask: Ask) -> Reply:
        shown = ask.messages[0]["content"]
        if "Say hi" in shown:
            return Reply(ask.key, "", "refused")
        return Reply(ask.key, GOOD if "Bake" in shown else "Category: code", "stop")

    judge = ScriptedJudge(says)
    result = made(tmp_path, TAGS, lambda out: tag(judge, PROMPTS, allowed_failures=0, out=out))
    rows = {row.key: row for row in result.rows}
    assert rows[PROMPTS[0].key].category == COOKING
    assert rows[PROMPTS[1].key].unparsed == "category+complexity+length"
    assert rows[PROMPTS[2].key].unparsed == "refused"
    assert result.counts == {
        "tagged": 1,
        "unparsed_category+complexity+length": 1,
        "unparsed_refused": 1,
    }
    assert len(judge.asked) == 3
    sent = next(ask for ask in judge.asked if ask.key == PROMPTS[1].key)
    assert sent.messages[0]["content"].startswith("Instruction: Sort a list <INSTRUCTION_HERE>\n")
    assert sent.temperature == 0


def test_failed_requests_are_asked_again_by_the_next_run(tmp_path: Path) -> None:
    def fails(ask: Ask) -> Reply:
        if ask.key == PROMPTS[2].key:
            return Reply(ask.key, "", "failed", failure="HTTP 500")
        return Reply(ask.key, GOOD, "stop")

    with pytest.raises(JudgeFailed, match="1 of 3 judge requests failed"):
        made(
            tmp_path,
            TAGS,
            lambda out: tag(ScriptedJudge(fails), PROMPTS, allowed_failures=0, out=out),
        )
    judge = ScriptedJudge(lambda ask: Reply(ask.key, GOOD, "stop"))
    result = made(tmp_path, TAGS, lambda out: tag(judge, PROMPTS, allowed_failures=0, out=out))
    assert [ask.key for ask in judge.asked] == [PROMPTS[2].key]
    assert result.counts == {"tagged": 3}
    lenient = made(
        tmp_path / "lenient",
        TAGS,
        lambda out: tag(ScriptedJudge(fails), PROMPTS, allowed_failures=0.5, out=out),
    )
    assert lenient.counts == {"tagged": 2, "unparsed_failed": 1}


def tagged(
    instruction: str, category: str | None, complexity: int | None, length: str | None
) -> Tag:
    return Tag(instruction_key(instruction), category, complexity, length, None, "")


def test_the_breakdown_has_each_group_with_its_n_and_counts_the_untagged() -> None:
    annotations = [
        annotation("a", 2.0),
        annotation("b", 1.0),
        annotation("c", None),
        annotation("d", 1.75),
        annotation("e", 1.0),  # no tag at all
    ]
    tags = [
        tagged("a", COOKING, 1, LENGTHS[0]),
        tagged("b", COOKING, 2, LENGTHS[4]),
        tagged("c", COOKING, 10, LENGTHS[4]),
        tagged("d", CODING, 3, None),
    ]
    found = {s.key: (s.value, s.n, s.missing) for s in breakdown(annotations, tags)}
    assert found == {
        f"win_rate/category/{COOKING}": (50, 2, 1),
        f"win_rate/category/{CODING}": (75, 1, 0),
        "win_rate/category/untagged": (0, 1, 0),
        "win_rate/complexity/1-2": (50, 2, 0),
        "win_rate/complexity/3-4": (75, 1, 0),
        "win_rate/complexity/9-10": (None, 0, 1),
        "win_rate/complexity/untagged": (0, 1, 0),
        "win_rate/length/1 sentence": (100, 1, 0),
        "win_rate/length/3 or more paragraphs": (0, 1, 1),
        "win_rate/length/untagged": (37.5, 2, 0),
    }


def test_nothing_annotated_has_no_breakdown() -> None:
    assert breakdown([], [tagged("a", COOKING, 1, LENGTHS[0])]) == []
