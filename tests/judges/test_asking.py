from __future__ import annotations

from dataclasses import fields

import pytest

from core.errors import JudgeFailed, StageFailed
from core.records import user
from judges.asking import Ask, Reply, settle_failures, unique_keys
from judges.distribution import RATING

FAILED = [Reply(f"k{n}", "", "failed", failure=f"HTTP 50{n}") for n in range(3)]


def test_the_identity_holds_the_judge_and_all_of_the_request_but_its_key() -> None:
    ask = Ask("k", tuple(user("q")), 20, 0.5, 0.9, 2, ("m", "M"), 5, form=RATING, lead="I say ")
    identity = ask.identity("openai/host/m")
    assert identity == {
        "judge": "openai/host/m",
        "messages": [["user", "q"]],
        "max_new_tokens": 20,
        "temperature": 0.5,
        "top_p": 0.9,
        "draw": 2,
        "weigh": ["m", "M"],
        "top_logprobs": 5,
        "form": "rating",
        "lead": "I say ",
    }
    # A field added to Ask that decides the reply must not be forgotten here.
    undecided = {"key", "least_tokens"}
    assert set(identity) - {"judge"} == {field.name for field in fields(Ask)} - undecided


def test_keys_must_be_unique_in_one_call() -> None:
    asks = [Ask(key, (), 1) for key in ("a", "b", "a")]
    unique_keys(asks[:2])
    with pytest.raises(ValueError, match="two asks have the key 'a'"):
        unique_keys(asks)


def test_failures_stop_a_stage_if_none_are_allowed() -> None:
    with pytest.raises(JudgeFailed) as caught:
        settle_failures(FAILED, 100, allowed_share=0.0)
    assert str(caught.value).startswith(
        "3 of 100 judge requests failed after all retries (first: k0: HTTP 500). "
    )
    assert isinstance(caught.value, StageFailed)


@pytest.mark.parametrize(
    ("failures", "total", "share", "accepted"),
    [
        (0, 0, 0.0, True),
        (0, 100, 0.0, True),
        (3, 100, 0.03, True),
        (3, 99, 0.03, False),
        (3, 3, 1.0, True),
        (1, 3, 0.33, False),
    ],
)
def test_failures_up_to_the_allowed_share_are_accepted(
    failures: int, total: int, share: float, accepted: bool
) -> None:
    if accepted:
        settle_failures(FAILED[:failures], total, allowed_share=share)
    else:
        with pytest.raises(JudgeFailed):
            settle_failures(FAILED[:failures], total, allowed_share=share)
