from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.records import user
from engines.remote.dialects import Adaptations
from engines.remote.transport import Problem
from judges.asking import Ask
from judges.backends.openai_protocol import Answer, read_answer, request_body

ASK = Ask("k", tuple(user("Which?")), 7, temperature=0.3, top_p=0.9)


def body(message: Any, reason: str | None = "stop", **more: Any) -> str:
    """Return a server's reply with one choice."""
    usage = {"prompt_tokens": 11, "completion_tokens": 3}
    choice = {"index": 0, "message": message, "finish_reason": reason}
    return json.dumps({"model": "m-1", "choices": [choice], "usage": usage, **more})


def test_words_finish_tokens_and_the_servers_own_model_name_are_read() -> None:
    assert read_answer(body({"content": "Score: 4"})) == Answer(
        "Score: 4", "stop", 11, 3, None, "m-1"
    )


@pytest.mark.parametrize(
    ("message", "reason", "text", "finish"),
    [
        ({"content": "cut of"}, "length", "cut of", "length"),
        ({"content": None}, "length", "", "length"),  # a reasoning model that used up its tokens
        ({"content": ""}, "stop", "", "stop"),
        ({"content": "half"}, "content_filter", "half", "refused"),
        ({"content": None}, "content_filter", "", "refused"),
        ({"content": None, "refusal": "I can't."}, "stop", "I can't.", "refused"),
        ({"content": "4"}, None, "4", "stop"),
        ({"content": "4"}, "eos_token", "4", "stop"),
        ({"role": "assistant"}, "content_filter: PROHIBITED_CONTENT", "", "refused"),  # Gemini
        (None, "content_filter: PROHIBITED_CONTENT", "", "refused"),
        ({"content": None}, "SAFETY", "", "refused"),
        ({"content": None}, "MAX_TOKENS", "", "length"),
        ({"content": [{"type": "thinking"}, {"type": "text", "text": "4"}]}, "stop", "4", "stop"),
    ],
)
def test_the_reason_to_finish_is_put_into_the_projects_words(
    message: Any, reason: str | None, text: str, finish: str
) -> None:
    answer = read_answer(body(message, reason))
    assert isinstance(answer, Answer)
    assert (answer.text, answer.finish) == (text, finish)


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ("", "not JSON: ''"),
        ('{"choices": [{"mess', "not JSON"),
        ("<html>502</html>", "not JSON: '<html>502</html>'"),
        ("[" * 100_000, "not JSON"),
        ("[]", "no choices"),
        ("null", "no choices"),
        ('{"choices": []}', "no choices"),
        ('{"choices": {}}', "no choices"),
        ('{"choices": [null]}', "no choices"),
        ('{"choices": [{"text": "completion"}]}', "no content"),
        (body({"content": None}), "no content"),
        (body({}), "no content"),
        (body({"content": ["a", "b"]}), "no content"),
        (body({"content": 5}), "no content"),
    ],
)
def test_a_reply_of_status_200_that_is_none_is_malformed(sent: str, reason: str) -> None:
    found = read_answer(sent)
    assert isinstance(found, Problem)
    assert found.kind == "retry"
    assert found.reason.startswith(f"malformed reply: {reason}")


@pytest.mark.parametrize(
    ("sent", "kind", "words"),
    [
        ('{"error": {"message": "overloaded", "code": 502}}', "retry", "overloaded"),
        ('[{"error": {"message": "quota", "code": 429}}]', "retry", "quota"),
        ('{"object": "error", "message": "overloaded"}', "retry", "overloaded"),
        ('{"error": {"message": "No credit", "code": 402}}', "stop", "No credit"),
        ('{"error": {"message": "Your input was flagged", "code": 403}}', "refused", "flagged"),
        (
            '{"error": {"message": "`temperature` is deprecated", "code": 400}}',
            "unsupported",
            "deprecated",
        ),
        (body({"content": "partial"}, "error"), "retry", "finish_reason: error"),
    ],
)
def test_an_error_inside_a_reply_is_what_it_says_and_never_an_answer(
    sent: str, kind: str, words: str
) -> None:
    found = read_answer(sent)
    assert isinstance(found, Problem)
    assert found.kind == kind
    assert words in found.reason


def test_the_recorded_error_after_partial_words_is_tried_again_and_billed(shared: Path) -> None:
    found = read_answer((shared / "cases" / "openrouter_finish_reason_error.json").read_text())
    assert isinstance(found, Problem)
    assert (found.kind, found.tokens_in, found.tokens_out) == ("retry", 10, 5)
    assert "Upstream idle timeout exceeded" in found.reason


def test_a_prompt_that_gemini_blocks_is_refused() -> None:
    found = read_answer('{"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "choices": []}')
    assert isinstance(found, Answer)
    assert found.finish == "refused"


def weighed(*logprobs: str) -> str:
    """Return a reply of one token with these values, as the server writes them."""
    top = ", ".join(f'{{"token": "{t}", "logprob": {v}}}' for t, v in zip("mM", logprobs))  # noqa: B905
    token = f'{{"token": "m", "logprob": {logprobs[0]}, "top_logprobs": [{top}]}}'
    choice = '"message": {"content": "m"}, "finish_reason": "length"'
    return f'{{"choices": [{{{choice}, "logprobs": {{"content": [{token}]}}}}]}}'


@pytest.mark.parametrize("value", ["NaN", "null", "Infinity", '"x"', "true", "0.5"])
def test_log_probabilities_that_are_no_numbers_are_none(value: str) -> None:
    found = read_answer(weighed("-0.1", value))
    assert isinstance(found, Answer)
    assert found.logprobs is None


def test_a_probability_of_zero_is_one() -> None:
    found = read_answer(weighed("-0.1", "-Infinity"))
    assert isinstance(found, Answer)
    assert found.logprobs is not None
    assert found.logprobs["content"][0]["top_logprobs"][1]["logprob"] == -9999.0


@pytest.mark.parametrize(
    "logprobs", [None, {}, {"content": None}, {"content": []}, {"content": [{"token": "m"}]}, []]
)
def test_absent_log_probabilities_are_none(logprobs: Any) -> None:
    choice = {"message": {"content": "m"}, "finish_reason": "length", "logprobs": logprobs}
    found = read_answer(json.dumps({"choices": [choice]}))
    assert isinstance(found, Answer)
    assert found.logprobs is None


def test_a_malformed_reply_that_was_billed_says_so() -> None:
    assert read_answer(body({"content": None})) == Problem(
        "retry", "malformed reply: no content", tokens_in=11, tokens_out=3
    )


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_what_a_server_says_was_thought_is_kept_apart_from_the_reply(field: str) -> None:
    found = read_answer(body({"content": "Score: 4", field: "Score: 2, perhaps?"}))
    assert isinstance(found, Answer)
    assert (found.text, found.thought) == ("Score: 4", "Score: 2, perhaps?")


def test_a_model_that_only_thought_replied_nothing_and_is_not_asked_again() -> None:
    found = read_answer(body({"content": None, "reasoning_content": "Score: 2"}))
    assert found == Answer("", "stop", 11, 3, None, "m-1", "Score: 2")


@pytest.mark.parametrize("usage", [None, [], {}, {"prompt_tokens": "x"}, {"prompt_tokens": -1}])
def test_a_server_that_counts_no_tokens_gives_zero(usage: Any) -> None:
    answer = read_answer(body({"content": "4"}, usage=usage))
    assert isinstance(answer, Answer)
    assert (answer.tokens_in, answer.tokens_out) == (0, 0)


def test_log_probabilities_are_kept_as_the_server_sent_them() -> None:
    top = [{"token": "m", "logprob": -0.1, "bytes": [109]}, {"token": "M", "logprob": -2.5}]
    logprobs = {"content": [{"token": "m", "logprob": -0.1, "top_logprobs": top}], "refusal": None}
    choice = {"message": {"content": "m"}, "finish_reason": "length", "logprobs": logprobs}
    answer = read_answer(json.dumps({"choices": [choice]}))
    assert isinstance(answer, Answer)
    assert answer.logprobs == logprobs


def test_half_a_character_is_replaced_and_a_whole_one_written_in_halves_is_kept() -> None:
    broken = read_answer('{"choices": [{"message": {"content": "a\\ud83d"}}]}')
    whole = read_answer('{"choices": [{"message": {"content": "a\\ud83d\\ude00"}}]}')
    assert isinstance(broken, Answer)
    assert isinstance(whole, Answer)
    assert (broken.text, whole.text) == ("a\ufffd", "a😀")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "refusal", "usage", "logprobs"]),
            inner,
        )
    ),
    max_leaves=12,
)


@given(json_values.map(json.dumps) | st.text())
def test_whatever_comes_is_an_answer_in_utf8_or_malformed(sent: str) -> None:
    found = read_answer(sent)
    words = found.text if isinstance(found, Answer) else found.reason
    assert words.encode() or isinstance(found, Answer)


def test_a_request_carries_what_decides_the_reply() -> None:
    assert request_body("m", ASK, {}) == {
        "model": "m",
        "messages": [{"role": "user", "content": "Which?"}],
        "max_tokens": 7,
        "temperature": 0.3,
        "top_p": 0.9,
    }


def test_top_p_is_sent_only_where_it_does_something() -> None:
    assert "top_p" not in request_body("m", replace(ASK, top_p=1.0), {})


def test_refused_parameters_are_renamed_left_out_or_changed() -> None:
    adapted: Adaptations = {
        "max_tokens": "max_completion_tokens", "temperature": "left out", "top_p": "left out",
        "min_tokens": 16, "max_top_logprobs": 2,
    }  # fmt: skip
    assert request_body("m", replace(ASK, weigh=("m", "M")), adapted) == {
        "model": "m",
        "messages": [{"role": "user", "content": "Which?"}],
        "max_completion_tokens": 16,
        "logprobs": True,
        "top_logprobs": 2,
    }


def test_the_floor_raises_the_limit_of_words_and_not_of_weighed_tokens() -> None:
    assert request_body("m", replace(ASK, least_tokens=50), {})["max_tokens"] == 50
    assert request_body("m", replace(ASK, least_tokens=5), {})["max_tokens"] == 7
    one = Ask("k", (), 1, weigh=("m", "M"), least_tokens=50)
    assert request_body("m", one, {})["max_tokens"] == 1
    assert one.identity("j") == replace(one, least_tokens=0).identity("j")


@pytest.mark.parametrize(
    ("weigh", "top", "expected"), [(("m", "M"), 0, 5), ((), 3, 5), ((), 20, 20), (("m",), 8, 8)]
)
def test_probabilities_are_asked_for_at_least_five_at_a_time(
    weigh: tuple[str, ...], top: int, expected: int
) -> None:
    sent = request_body("m", Ask("k", (), 1, weigh=weigh, top_logprobs=top), {})
    assert (sent["logprobs"], sent["top_logprobs"]) == (True, expected)
