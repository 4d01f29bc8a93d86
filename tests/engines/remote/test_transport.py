from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from engines.remote.transport import Pace, retry_after_s, trouble, unsupported


def test_without_a_limit_every_turn_is_at_once() -> None:
    pace = Pace(None, backoff_s=1.0, seed=0)
    assert [pace.turn() for _ in range(5)] == [0.0] * 5


def test_turns_are_spaced_by_the_minutes_share() -> None:
    # 120 a minute: one every half second, whoever asks, however soon.
    pace = Pace(120, backoff_s=1.0, seed=0)
    assert [pace.turn() for _ in range(4)] == pytest.approx([0.0, 0.5, 1.0, 1.5], abs=0.1)


def test_a_hold_delays_everybody_and_a_shorter_one_changes_nothing() -> None:
    pace = Pace(None, backoff_s=1.0, seed=0)
    pace.hold(5.0)
    pace.hold(1.0)
    assert [pace.turn() for _ in range(3)] == pytest.approx([5.0] * 3, abs=0.1)


def test_the_back_off_doubles_within_its_jitter_and_stops_growing() -> None:
    pace = Pace(None, backoff_s=0.5, seed=0)
    for attempt, middle in [(0, 0.5), (1, 1.0), (4, 8.0), (7, 60.0), (1000, 60.0)]:
        for _ in range(20):
            assert 0.5 * middle <= pace.backoff(attempt) <= 1.5 * middle


def test_the_back_off_never_comes_back_before_the_server_asked_for() -> None:
    pace = Pace(None, backoff_s=0.5, seed=0)
    pauses = [pace.backoff(3, 20.0) for _ in range(20)]
    assert min(pauses) >= 20.0
    assert max(pauses) <= 20.5
    assert len(set(pauses)) > 10  # not all at the same moment


def test_the_jitter_is_the_seeds() -> None:
    first, again, other = (Pace(None, backoff_s=1.0, seed=seed) for seed in (1, 1, 2))
    assert first.backoff(0) == again.backoff(0) != other.backoff(0)


@pytest.mark.parametrize(
    ("status", "code", "message", "expected"),
    [
        (400, "context_length_exceeded", "", "too_long"),
        (400, None, "This model's maximum context length is 4096 tokens. However, ...", "too_long"),
        (400, None, "the request exceeds the available context size", "too_long"),
        (400, None, "prompt is too long: 210000 tokens > 200000 maximum", "too_long"),
        (400, "content_filter", "The response was filtered", "refused"),
        (400, "invalid_value", "max_tokens is too large: 5000", "failed"),
        (400, None, "Server is pinned to 'a'; requested 'b'.", "failed"),
        (413, None, "", "failed"),
        (422, None, "Unexpected fields", "failed"),
        (401, "invalid_api_key", "", "stop"),
        (403, None, "", "stop"),
        (404, "model_not_found", "", "stop"),
        (429, "insufficient_quota", "You exceeded your current quota", "stop"),
        (429, "rate_limit_exceeded", "", "retry"),
        (408, None, "", "retry"),
        (409, None, "", "retry"),
        (500, None, "", "retry"),
        (503, None, "", "retry"),
        (529, None, "overloaded", "retry"),
    ],
)
def test_each_error_status_means_one_thing(
    status: int, code: str | None, message: str, expected: str
) -> None:
    assert trouble(status, code, None, message) == expected


@pytest.mark.parametrize(
    ("code", "param", "message", "name"),
    [
        ("unsupported_parameter", "max_tokens", "", "max_tokens"),
        ("unsupported_value", "temperature", "", "temperature"),
        (
            None,
            None,
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead.",
            "max_tokens",
        ),
        (None, None, "'top_p' does not support 0.9 with this model", "top_p"),
        ("unsupported_parameter", "logprobs", "", "logprobs"),
        ("unsupported_parameter", "messages", "", None),
        (None, None, "temperature must be at most 2", None),
        ("invalid_value", "max_tokens", "max_tokens is too large", None),
    ],
)
def test_a_rejected_parameter_is_named_only_if_one_can_do_without_it(
    code: str | None, param: str | None, message: str, name: str | None
) -> None:
    assert unsupported(code, param, message) == name
    assert (trouble(400, code, param, message) == "unsupported") == (name is not None)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": formatdate(0, usegmt=True)}, 0.0),  # long past
    ],
)
def test_a_servers_wish_to_wait_is_read_in_any_form(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after_s(headers) == seconds


def test_a_date_to_retry_after_is_so_many_seconds_from_now() -> None:
    wanted = retry_after_s({"retry-after": formatdate(time.time() + 30, usegmt=True)})
    assert wanted == pytest.approx(30, abs=2)  # the header has whole seconds
