from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.draws import StopStrings, cut_at_stop
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
