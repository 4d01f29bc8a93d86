from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from engines.remote.transport import Pace, retry_after_s


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
