from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from core.records import user
from engines.engine import Continuation, Decoding, Engine, Logprob, Request, Sampled
from tests.engines.scripted import ScriptedEngine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.records import Message


def decoding(max_new_tokens: int = 10) -> Decoding:
    return Decoding(temperature=0.0, top_p=1.0, max_new_tokens=max_new_tokens, seed=0)


def echo(messages: Sequence[Message], draw: int) -> str:
    """Repeat the last message and say which draw this is."""
    return f"{messages[-1]['content']} {draw}"


def test_a_script_is_an_engine() -> None:
    engine: Engine = ScriptedEngine(echo)
    assert isinstance(engine, Engine)


def test_the_name_is_the_fingerprint() -> None:
    assert ScriptedEngine(echo).fingerprint == "scripted"
    assert ScriptedEngine(echo, name="judge").fingerprint == "judge"


def test_each_wanted_draw_is_answered_from_its_own_messages_and_index() -> None:
    requests = [Request("a", user("x"), (0, 2)), Request("b", user("y"), (1,))]
    assert list(ScriptedEngine(echo).sample(requests, decoding())) == [
        Sampled("a", 0, "x 0", 2, "stop"),
        Sampled("a", 2, "x 2", 2, "stop"),
        Sampled("b", 1, "y 1", 2, "stop"),
    ]


def test_a_request_wants_one_draw_unless_it_says_otherwise() -> None:
    (only,) = ScriptedEngine(echo).sample([Request("a", user("x"))], decoding())
    assert only.draw == 0


def test_calls_list_the_draws_in_the_order_they_were_handed_out() -> None:
    engine = ScriptedEngine(echo)
    list(engine.sample([Request("a", user("x"), (0, 1))], decoding()))
    list(engine.sample([Request("b", user("y"))], decoding()))
    assert engine.calls == [("a", 0), ("a", 1), ("b", 0)]


def test_a_draw_that_nobody_took_was_not_called() -> None:
    engine = ScriptedEngine(echo)
    sampling = engine.sample([Request("a", user("x"), (0, 1, 2))], decoding())
    assert engine.calls == []
    next(sampling)
    assert engine.calls == [("a", 0)]


def test_a_reply_of_none_plays_a_prompt_that_is_too_long_and_the_rest_goes_on() -> None:
    engine = ScriptedEngine(lambda messages, draw: None if draw == 0 else "fine")
    assert list(engine.sample([Request("a", user("x"), (0, 1))], decoding())) == [
        Sampled("a", 0, "", 0, "too_long"),
        Sampled("a", 1, "fine", 1, "stop"),
    ]
    assert engine.calls == [("a", 0), ("a", 1)]


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (4, Sampled("a", 0, "one  two\nthree", 3, "stop")),  # untouched, white space and all
        (3, Sampled("a", 0, "one  two\nthree", 3, "stop")),  # ended by itself on the last token
        (2, Sampled("a", 0, "one two", 2, "length")),
        (1, Sampled("a", 0, "one", 1, "length")),
    ],
)
def test_a_word_plays_a_token_and_a_longer_reply_is_cut(limit: int, expected: Sampled) -> None:
    engine = ScriptedEngine(lambda messages, draw: "one  two\nthree")
    assert list(engine.sample([Request("a", user("x"))], decoding(limit))) == [expected]


def test_an_empty_reply_is_a_reply_and_not_a_prompt_that_is_too_long() -> None:
    engine = ScriptedEngine(lambda messages, draw: "")
    (only,) = engine.sample([Request("a", user("x"))], decoding())
    assert only == Sampled("a", 0, "", 0, "stop")


def test_a_raw_prompt_reaches_the_script_as_one_message_of_text() -> None:
    engine = ScriptedEngine(lambda messages, draw: f"{messages[0]['role']}: {len(messages)}")
    (only,) = engine.sample([Request("a", "Q: x")], decoding())
    assert only.text == "text: 1"
    (echoed,) = ScriptedEngine(echo).sample([Request("a", "Q: x")], decoding())
    assert echoed.text == "Q: x 0"


def test_a_stop_string_cuts_the_scripts_reply_before_its_words_are_counted() -> None:
    engine = ScriptedEngine(lambda messages, draw: "one two\nthree four")
    stopping = Decoding(0.0, 1.0, 2, seed=0, stop=("\n", "four"))
    (only,) = engine.sample([Request("a", user("x"))], stopping)
    assert only == Sampled("a", 0, "one two", 2, "stop")


def test_no_requests_give_no_draws() -> None:
    engine = ScriptedEngine(echo)
    assert list(engine.sample([], decoding())) == []
    assert engine.calls == []


def test_scores_come_from_the_script_in_order_of_the_requests() -> None:
    # One token per word, one nat each, greedy where the context is empty.
    def score(request: Continuation) -> Logprob:
        words = len(request.continuation.split())
        return Logprob(-float(words), words, not request.context)

    engine = ScriptedEngine(echo, score=score)
    requests = [Continuation("Q:", "one two"), Continuation("", "one")]
    assert engine.score(requests) == [Logprob(-2.0, 2, False), Logprob(-1.0, 1, True)]
    assert engine.score([]) == []
    assert engine.calls == []


def test_a_script_without_scores_says_so() -> None:
    with pytest.raises(NotImplementedError, match="no scores"):
        ScriptedEngine(echo).score([Continuation("", "one")])
