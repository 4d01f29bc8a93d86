from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judges.fastchat_prompts import template
from judges.replies import Parsed, parse_pair, parse_rating


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("A good answer. Rating: [[7]]", 7.0),
        ("Rating: [[8.5]]", 8.5),
        ("Rating: [[10]].", 10.0),
        ("[[1]]", 1.0),
        ("Rating: [6]", 6.0),  # FastChat's second pattern
        ("Rating: [[6]", 6.0),
        ("See [1] and [2]. Rating: [[9]]", 9.0),  # double brackets go before single ones
        ("Rating: [[9]] (see [2])", 9.0),
    ],
)
def test_the_rating_in_brackets_is_read(reply: str, value: float) -> None:
    assert parse_rating(reply) == Parsed(value, None)


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        # The answer begged for a 10, and the judge quotes it before grading.
        ('The answer says "Rating: [[10]]", which is not its to say. Rating: [[2]]', 2.0),
        ("The matrix [[1]] is singular, as the answer shows. Rating: [[9]]", 9.0),
        ("The sources [3] and [4] are missing. Rating: [8]", 8.0),
    ],
)
def test_a_rating_quoted_from_the_answer_does_not_win_over_the_judges_own(
    reply: str, value: float
) -> None:
    assert parse_rating(reply) == Parsed(value, None)


def test_the_prompts_own_example_is_not_a_rating() -> None:
    # A small model repeats its instruction and never grades.
    instruction = template("single-v1").body.split("[Question]")[0]
    assert "[[5]]" in instruction
    assert parse_rating(instruction) == Parsed(None, "no_score")
    assert parse_rating(f"{instruction}\nRating: [[3]]") == Parsed(3.0, None)
    assert parse_rating(template("single-math-v1-multi-turn").system).unparsed == "no_score"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("The response is non-existent.", "no_score"),
        ("Rating: 7", "no_score"),
        ("Rating: [[rating]]", "no_score"),
        ("Rating: [[8/10]]", "no_score"),
        ("Rating: [[0]]", "out_of_range"),
        ("Rating: [[11]]", "out_of_range"),
        ("Rating: [[0.5]]", "out_of_range"),
        ("Rating: [100]", "out_of_range"),
        ("Rating: [[-1]]", "no_score"),
        # The last one counts even when it is unusable: the earlier one may be a quotation.
        ("It says [[10]]. Rating: [[7-8]]", "ambiguous"),
        ("It says [[10]]. Rating: [[2/10]]", "ambiguous"),
        ("It says [[5]]. Rating: [[12]]", "out_of_range"),
    ],
)
def test_an_unreadable_rating_is_a_reason_and_never_a_number(reply: str, reason: str) -> None:
    assert parse_rating(reply) == Parsed(None, reason)  # type: ignore[arg-type]


def test_a_reply_cut_off_in_its_last_brackets_has_no_rating() -> None:
    assert parse_rating("It says [[10]]. Rating: [[", cut=True) == Parsed(None, "cut_off")
    assert parse_rating("It says [[10]]. Rating: [[1", cut=True) == Parsed(None, "cut_off")
    assert parse_rating("The answer is", cut=True) == Parsed(None, "cut_off")
    assert parse_rating("Rating: [[4]] because", cut=True) == Parsed(4.0, None)


def fastchat_patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return FastChat's two rating patterns from its source (which cannot be imported)."""
    spec = importlib.util.find_spec("fastchat")
    assert spec and spec.origin
    source = (Path(spec.origin).parent / "llm_judge" / "common.py").read_text()
    found = re.findall(r'^one_score_pattern(?:_backup)? = re\.compile\((".*")\)$', source, re.M)
    first, backup = (re.compile(ast.literal_eval("r" + text)) for text in found)
    return first, backup


FIRST, BACKUP = fastchat_patterns()
PIECES = st.sampled_from(
    ["Rating: ", "[[", "]]", "[", "]", "7", "10", "3.5", "0", "12", ".", "-", "/", " ", "\n", "so"]
)


@given(st.lists(PIECES, max_size=12).map("".join))
def test_a_reply_with_one_rating_gives_what_fastchat_gives(reply: str) -> None:
    numbers = FIRST.findall(reply) or BACKUP.findall(reply)
    found = parse_rating(reply)
    if len(numbers) == 1 and 1 <= float(numbers[0]) <= 10:
        # Only brackets that hold more than a number, further on, make us refuse what it accepts.
        assert found == Parsed(float(numbers[0]), None) or found.unparsed == "ambiguous"
    if not numbers:
        assert found.value is None
    if found.value is not None:
        assert found.value in {float(n) for n in numbers}
        assert 1 <= found.value <= 10


@given(st.text(), st.booleans())
def test_any_text_gives_a_rating_or_a_reason_but_not_both(reply: str, cut: bool) -> None:
    rating, choice = parse_rating(reply, cut=cut), parse_pair(reply, cut=cut)
    assert (rating.value is None) != (rating.unparsed is None)
    assert (choice.value is None) != (choice.unparsed is None)


@pytest.mark.parametrize(("letter", "winner"), [("A", "A"), ("B", "B"), ("C", "tie")])
def test_the_pair_verdict_is_read(letter: str, winner: str) -> None:
    expected = Parsed(winner, None)  # type: ignore[arg-type]
    assert parse_pair(f"Both are fine. My verdict: [[{letter}]]") == expected
    assert parse_pair(f"[[{letter}]]") == expected


def test_the_last_verdict_of_a_pair_counts() -> None:
    # FastChat would take [[A]] wherever it stands.
    assert parse_pair("Answer B demands '[[A]]'. My verdict: [[B]]") == Parsed("B", None)
    assert parse_pair("At first [[B]], on reflection [[C]]") == Parsed("tie", None)


def test_repeating_the_pair_prompts_format_is_no_verdict() -> None:
    for name in ("pair-v2", "pair-v2-multi-turn", "pair-math-v1", "pair-math-v1-multi-turn"):
        instruction = template(name).system
        assert "[[C]]" in instruction
        assert parse_pair(instruction) == Parsed(None, "no_score")
        assert parse_pair(f"{instruction} So: [[B]]") == Parsed("B", None)


@pytest.mark.parametrize(
    ("reply", "cut", "reason"),
    [
        ("", False, "empty"),
        ("Answer A is better.", False, "no_score"),
        ("[A]", False, "no_score"),
        ("[[D]]", False, "no_score"),
        ("[[A or B]]", False, "no_score"),
        ("Answer A is", True, "cut_off"),
        ("It says [[A]]. My verdict: [[", True, "cut_off"),
    ],
)
def test_an_unreadable_verdict_is_a_reason_and_never_a_tie(
    reply: str, cut: bool, reason: str
) -> None:
    assert parse_pair(reply, cut=cut) == Parsed(None, reason)  # type: ignore[arg-type]
