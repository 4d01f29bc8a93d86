from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engines.remote.dialects import (
    IMPOSSIBLE,
    LEFT_OUT,
    MAX_LOGPROBS,
    MIN_TOKENS,
    ServerError,
    adaptation,
    error_in,
    moderated,
    read_error,
    trouble,
)

SENT = {
    "model": "m", "messages": [], "max_tokens": 1, "temperature": 0.0, "top_p": 0.9, "seed": 1,
    "logprobs": True, "top_logprobs": 5,
}  # fmt: skip


def error(message: str, code: str = "", param: str = "") -> str:
    return json.dumps({"error": {"message": message, "code": code or None, "param": param or None}})


def behind(message: str) -> str:
    """Return OpenRouter's error about a server behind it."""
    raw = json.dumps({"error": {"message": message}})
    metadata = {"raw": raw, "provider_name": "Azure"}
    return json.dumps(
        {"error": {"message": "Provider returned error", "code": 400, "metadata": metadata}}
    )


@pytest.mark.parametrize(
    ("status", "code", "message", "expected"),
    [
        (400, "context_length_exceeded", "", "too_long"),
        (400, "", "This model's maximum context length is 4096 tokens. However, ...", "too_long"),
        (400, "", "the request exceeds the available context size", "too_long"),
        (400, "", "prompt is too long: 210000 tokens > 200000 maximum", "too_long"),
        (400, "invalid_value", "max_tokens is too large: 5000", "failed"),
        (400, "", "temperature must be at most 2", "failed"),
        (400, "", "Server is pinned to 'a'; requested 'b'.", "failed"),
        (400, "", "Could not finish the message because max_tokens or model output limit was "
                  "reached. Please try again with higher max_tokens.", "cut"),
        (413, "", "", "failed"),
        (422, "", "Unexpected fields", "failed"),
        (401, "invalid_api_key", "", "stop"),
        (402, "", "Insufficient credits", "stop"),
        (403, "", "You do not have access to model: gpt-4o", "stop"),
        (404, "model_not_found", "", "stop"),
        (429, "insufficient_quota", "You exceeded your current quota", "stop"),
        (429, "rate_limit_exceeded", "", "retry"),
        (408, "", "", "retry"),
        (409, "", "", "retry"),
        (500, "", "", "retry"),
        (503, "", "", "retry"),
        (529, "", "overloaded", "retry"),
    ],
)  # fmt: skip
def test_each_error_status_means_one_thing(
    status: int, code: str, message: str, expected: str
) -> None:
    assert trouble(status, ServerError(message, code)) == expected


@pytest.mark.parametrize(
    ("status", "body", "change"),
    [
        # OpenAI
        (400, error("Unsupported parameter: 'max_tokens' is not supported with this model. Use "
                    "'max_completion_tokens' instead.", "unsupported_parameter", "max_tokens"),
         ("max_tokens", "max_completion_tokens")),
        (400, error("Unsupported value: 'temperature' does not support 0 with this model. Only the "
                    "default (1) value is supported.", "unsupported_value", "temperature"),
         ("temperature", LEFT_OUT)),
        (403, error("You are not allowed to request logprobs from this model"),
         ("logprobs", IMPOSSIBLE)),
        # Azure
        (400, error("Unrecognized request argument supplied: logprobs"), ("logprobs", IMPOSSIBLE)),
        # Anthropic
        (400, error("`temperature` and `top_p` cannot both be specified for this model. Please use "
                    "only one."), ("top_p", LEFT_OUT)),
        (400, error("`temperature` is deprecated for this model."), ("temperature", LEFT_OUT)),
        (400, error("`temperature` may only be set to 1 when thinking is enabled."),
         ("temperature", LEFT_OUT)),
        # Gemini: a list
        (400, json.dumps([{"error": {"code": 400, "status": "INVALID_ARGUMENT", "message":
            'Invalid JSON payload received. Unknown name "seed": Cannot find field.'}}]),
         ("seed", LEFT_OUT)),
        (400, error("Logprobs is not enabled for models/gemini-2.5-pro"), ("logprobs", IMPOSSIBLE)),
        # vLLM
        (400, json.dumps({"object": "error", "type": "BadRequestError", "code": 400, "message":
            "[{'type': 'extra_forbidden', 'loc': ('body', 'top_p'), 'msg': 'Extra inputs are not "
            "permitted', 'input': 0.9}]"}), ("top_p", LEFT_OUT)),
        (400, error("Requested sample logprobs of 5, which is greater than max allowed: 2"),
         (MAX_LOGPROBS, 2)),
        # FastAPI, Mistral
        (422, json.dumps({"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"],
                                      "msg": "Extra inputs are not permitted"}]}),
         ("seed", LEFT_OUT)),
        # OpenRouter
        (400, behind("Unsupported parameter: 'max_tokens' is not supported with this model."),
         ("max_tokens", "max_completion_tokens")),
        (400, behind("Invalid 'max_output_tokens': integer below minimum value. Expected a value "
                     ">= 16, but got 1 instead."), (MIN_TOKENS, 16)),
    ],
)  # fmt: skip
def test_a_refused_parameter_is_known_in_every_servers_words(
    status: int, body: str, change: tuple[str, str | int]
) -> None:
    found = read_error(body)
    assert trouble(status, found) == "unsupported"
    assert adaptation(found, SENT) == change


def test_what_was_not_sent_was_not_refused() -> None:
    both = ServerError("`temperature` and `top_p` cannot both be specified for this model.")
    assert adaptation(both, {"temperature": 0.0}) == ("temperature", LEFT_OUT)
    assert adaptation(both, {}) is None
    assert adaptation(ServerError("unsupported", "unsupported_parameter", "messages"), SENT) is None


def test_the_recorded_refusal_of_claude_is_adapted(shared: Path) -> None:
    found = read_error((shared / "cases" / "claude_reply_400.json").read_text())
    assert adaptation(found, SENT) == ("top_p", LEFT_OUT)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, error("Invalid prompt: your prompt was flagged as potentially violating our usage "
                    "policy.", "invalid_prompt")),
        (400, error("The response was filtered due to the prompt triggering Azure OpenAI's content "
                    "management policy.", "content_filter", "prompt")),
        (400, error("Output blocked by content filtering policy")),
        (400, error("Content Exists Risk")),
        (403, json.dumps({"error": {"code": 403, "message": "openai/gpt-4o requires moderation on "
            'OpenAI. Your input was flagged for "violence".', "metadata":
            {"reasons": ["violence"], "flagged_input": "..."}}})),
        (403, error("Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_BIO")),
    ],
)  # fmt: skip
def test_moderation_is_one_refused_item_in_every_servers_words(status: int, body: str) -> None:
    assert trouble(status, read_error(body)) == "refused"


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("content_filter", True),
        ("content_filter: PROHIBITED_CONTENT", True),
        ("SAFETY", True),
        ("RECITATION", True),
        ("refusal", True),
        ("stop", False),
        ("length", False),
        (None, False),
        (3, False),
    ],
)
def test_a_reply_that_a_filter_ended_is_known(reason: object, expected: bool) -> None:
    assert moderated(reason) == expected


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"error": "model is loading"}, "model is loading"),
        ([{"error": {"message": "quota"}}], "quota"),
        ({"object": "error", "message": "overloaded"}, "overloaded"),
        ({"detail": "Not Found"}, "Not Found"),
        ({"error": {"status": "UNAVAILABLE"}}, "UNAVAILABLE"),
        ({"error": {"reason": "?"}}, '{"reason": "?"}'),
        ({"choices": []}, None),
        ([], None),
        (None, None),
        ("text", None),
    ],
)
def test_an_error_is_read_in_every_form(payload: Any, message: str | None) -> None:
    found = error_in(payload)
    assert (found and found.message) == message


@pytest.mark.parametrize("body", ["<html>502</html>", "[" * 100_000, ""])
def test_what_is_no_known_error_is_all_message(body: str) -> None:
    assert read_error(body) == ServerError(body)


@pytest.mark.parametrize(("code", "status"), [("502", 502), ("", 500), ("x", 500), ("7", 500)])
def test_an_error_inside_a_reply_stands_for_a_status(code: str, status: int) -> None:
    assert ServerError("", code).status == status
