from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.records import user
from engines.draws import DrawReader, StopStrings, cut_at_stop, think_for
from engines.engine import Decoding, Request
from engines.models import load_tokenizer


def test_a_text_is_cut_before_the_stop_string_that_comes_first() -> None:
    assert cut_at_stop("one. two\nthree", ("\n", ".")) == ("one", True)
    assert cut_at_stop("one. two\nthree", ("\n",)) == ("one. two", True)
    assert cut_at_stop(".one", (".",)) == ("", True)


def test_a_text_without_a_stop_string_is_whole() -> None:
    assert cut_at_stop("one two", ("\n", "Q:")) == ("one two", False)
    assert cut_at_stop("", ("\n",)) == ("", False)
    assert cut_at_stop("one", ()) == ("one", False)


def test_an_empty_stop_string_is_refused(tiny: Path) -> None:
    with pytest.raises(ValueError, match="empty stop string"):
        StopStrings(load_tokenizer(tiny), ("\n", ""))


def test_without_stop_strings_nothing_is_ever_reached(tiny: Path) -> None:
    tokenizer = load_tokenizer(tiny)
    strings = StopStrings(tokenizer, ())
    ids = tokenizer("The quick brown fox").input_ids
    assert not strings.reached(ids)
    assert strings.cut(ids) == ("The quick brown fox", False)


def test_special_tokens_are_dropped_but_those_that_mark_a_thought_stay(tiny: Path) -> None:
    tokenizer = load_tokenizer(tiny)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<think>", "</think>", "<|x|>"]})
    ids = tokenizer("<think>The fox<|x|></think>The dog<|x|>").input_ids
    assert StopStrings(tokenizer, ()).cut(ids) == ("<think>The fox</think>The dog", False)


TEXT = st.text(alphabet="ab Q:\n\u00e9\u4e16\U0001f98afox", max_size=60)
STOPS = st.lists(st.text(alphabet="aQ:\n\u4e16o ", min_size=1, max_size=4), min_size=1, max_size=3)


@given(text=TEXT, stops=STOPS)
@settings(max_examples=150, deadline=None)
def test_the_tail_notices_a_stop_string_at_the_token_that_completes_it(
    tiny: Path, text: str, stops: list[str]
) -> None:
    # Computed a second way: decode everything at every step and search it all.
    tokenizer = load_tokenizer(tiny)
    strings = StopStrings(tokenizer, tuple(stops))
    ids = tokenizer(text).input_ids
    for end in range(1, len(ids) + 1):
        whole = tokenizer.decode(ids[:end])
        expected = any(stop in whole for stop in stops)
        assert strings.reached(ids[:end]) == expected
        if expected:
            break


# "ab" are 2 tokens of the tiny tokenizer's bytes; a thought may have 12 tokens, an answer 6.
BUDGET = Decoding(0.0, 1.0, max_new_tokens=6, seed=0, max_thinking_tokens=12)


@pytest.mark.parametrize(
    ("opening", "drawn", "text", "finish"),
    [
        # The answer has its 6 tokens, however short the thought is.
        ("<think>", "ab</think>abcdefghi", "<think>ab</think>abcdef", "length"),
        ("<think>", "ab</think>abcd", "<think>ab</think>abcd", "stop"),
        # 4 + 8 tokens: a thought that just fits; one more does not, whatever came after it.
        ("<think>", "abcd</think>xy", "<think>abcd</think>xy", "stop"),
        ("<think>", "abcde</think>xy", "<think>abcde</think", "length"),
        ("<think>", "abcdefghijklmnopq", "<think>abcdefghijkl", "length"),
        # Without a thought there is nothing to add to.
        ("", "abcdefghi", "abcdef", "length"),
        ("", "abcde", "abcde", "stop"),  # the end of turn is the sixth
    ],
)
def test_a_thought_has_its_own_tokens_and_the_answer_after_it_its_own(
    tiny: Path, opening: str, drawn: str, text: str, finish: str
) -> None:
    tokenizer = load_tokenizer(tiny)
    ids = [token for char in drawn for token in tokenizer(char).input_ids]
    assert len(ids) == len(drawn)
    end = [tokenizer.eos_token_id]
    read = DrawReader(tokenizer, BUDGET).read("k", 0, ids + end, opening, ended=True)
    assert (read.text, read.finish) == (text, finish)


def test_only_conversations_are_thought_about() -> None:
    plain = Decoding(0.0, 1.0, 6, seed=0)
    assert think_for(plain, [Request("k", user("Hi"))], 12) == BUDGET
    assert think_for(plain, [Request("k", "Q: raw text\nA:")], 12) == plain
    assert (plain.most_tokens, BUDGET.most_tokens) == (6, 18)
