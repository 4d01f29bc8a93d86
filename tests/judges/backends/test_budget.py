from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from core.errors import ConfigError
from core.records import user
from judges.asking import Ask, Reply
from judges.backends.budget import (
    ESTIMATE,
    FREE,
    Budget,
    Price,
    Spent,
    TokenCounter,
    load_prices,
    price_of,
    token_counter,
)

WORDS = TokenCounter(lambda text: len(text.split()), "words")
PRICE = Price(10.0, 30.0)
# Three words, 4 tokens around the message and 3 before the reply: 10 tokens in, at most 10 out.
# At 10 and 30 dollars per million: 10·10 + 10·30 = 400 millionths of a dollar.
ASK = Ask("k", tuple(user("one two three")), 10)
REPLY = Reply("k", "fine", "stop", tokens_in=9, tokens_out=1)  # 9·10 + 1·30 = 120 millionths


def budget(limit: float | None, **more: Any) -> Budget:
    return Budget(PRICE, WORDS, limit_usd=limit, **more)


def test_a_price_is_per_million_tokens() -> None:
    assert PRICE.cost(1_000_000, 0) == 10.0
    assert PRICE.cost(0, 1_000_000) == 30.0
    assert PRICE.cost(10, 10) == pytest.approx(0.0004)
    assert FREE.cost(10**9, 10**9) == 0.0


@pytest.mark.parametrize(
    ("model", "dollars"),
    [
        ("gpt-4-1106-preview", (10.0, 30.0)),
        ("gpt-4-turbo", (10.0, 30.0)),
        ("gpt-4o", (2.5, 10.0)),
        ("gpt-4o-mini", (0.15, 0.6)),
        ("gpt-4.1", (2.0, 8.0)),
        ("gpt-4.1-mini", (0.4, 1.6)),
        ("gpt-4-0613", (30.0, 60.0)),
        ("gpt-3.5-turbo", (0.5, 1.5)),
    ],
)
def test_the_price_file_has_the_usual_judges(model: str, dollars: tuple[float, float]) -> None:
    price = price_of(model)
    assert price is not None
    assert (price.input_usd, price.output_usd) == dollars


def test_each_price_says_when_and_how_it_was_checked() -> None:
    assert all(price.checked.startswith("from memory, 20") for price in load_prices().values())


@pytest.mark.parametrize("model", ["gpt-4o-2024-05-13", "gpt-4.1-nano", "gpt-9", "", "GPT-4o"])
def test_a_name_that_is_not_listed_letter_by_letter_has_no_price(model: str) -> None:
    assert price_of(model) is None


@pytest.mark.parametrize(
    "base_url",
    [
        "http://127.0.0.1:8000/v1",
        "http://localhost:8000/v1",
        "http://[::1]:8000/v1",
        "http://10.0.0.7/v1",
        "http://192.168.1.5:1/v1",
        "http://gpu-node:8000/v1",
        "http://judge.internal/v1",
    ],
)
def test_a_server_of_ones_own_is_free_whatever_its_model_is_called(base_url: str) -> None:
    assert price_of("gpt-4o", base_url) == price_of("SmolLM2", base_url) == FREE


def test_a_public_server_is_priced_by_its_model() -> None:
    assert price_of("gpt-4o", "https://proxy.example.com/v1") == price_of("gpt-4o")
    assert price_of("gpt-4o", "https://8.8.8.8/v1") == price_of("gpt-4o")
    assert price_of("llama-3-70b", "https://proxy.example.com/v1") is None


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2)])
def test_the_estimate_is_a_token_for_every_four_characters_begun(text: str, tokens: int) -> None:
    assert ESTIMATE.count(text) == tokens
    assert ESTIMATE.method == "estimated, 4 characters per token"


def test_a_model_of_openais_is_counted_by_its_own_encoding() -> None:
    loaded = []

    def load(name: str) -> Any:
        loaded.append(name)
        return str.split

    counter = token_counter("gpt-4o", load=load)
    assert (counter.method, counter.count("one two three")) == ("tiktoken, o200k_base", 3)
    assert token_counter("gpt-4-1106-preview", load=load).method == "tiktoken, cl100k_base"
    assert loaded == ["o200k_base", "cl100k_base"]


def test_the_encodings_by_tiktoken_itself_count_or_are_known_to_be_absent() -> None:
    # With the encoding at hand (cached, or a network): "hello world" is two tokens of cl100k_base.
    counter = token_counter("gpt-4-0613")
    if counter.method == "tiktoken, cl100k_base":
        assert counter.count("hello world") == 2
        assert counter.count("<|endoftext|>") > 1  # text, not a command
    else:
        assert counter is ESTIMATE


def test_a_model_of_somebody_else_is_estimated() -> None:
    assert token_counter("SmolLM2-135M-Instruct") is ESTIMATE


@pytest.mark.parametrize("error", [ConnectionError("no network"), ValueError("Hash mismatch")])
def test_an_encoding_that_cannot_be_had_is_estimated(error: Exception) -> None:
    def load(name: str) -> Any:
        raise error

    assert token_counter("gpt-4o", load=load) is ESTIMATE


def test_a_download_that_hangs_is_not_waited_for() -> None:
    def load(name: str) -> Any:
        time.sleep(20)

    began = time.monotonic()
    assert token_counter("gpt-4o", load=load, patience_s=0.2) is ESTIMATE
    assert time.monotonic() - began < 2
    # ... nor by the end of the process
    assert all(t.daemon for t in threading.enumerate() if t.name == "encoding")


def test_a_limit_without_a_price_is_refused() -> None:
    with pytest.raises(ConfigError, match="budget_usd is set, but no price is known"):
        Budget(None, WORDS, limit_usd=1.0)


def test_without_a_limit_everything_fits_and_is_counted() -> None:
    money = budget(None)
    for _ in range(3):
        assert money.reserve(ASK)
        assert money.settle(ASK, REPLY) == pytest.approx(0.00012)
    assert money.spent[:3] == (3, 27, 3)
    assert money.spent.usd == pytest.approx(0.00036)


def test_without_a_price_tokens_are_counted_and_no_money() -> None:
    money = Budget(None, WORDS)
    assert money.reserve(ASK)
    assert money.settle(ASK, REPLY) == 0.0
    assert money.spent == Spent(1, 9, 1, 0.0)


def test_reservations_count_until_they_are_settled() -> None:
    # 0.0010: two reservations of 0.0004 fit, a third does not. One settled at 0.00012 makes room:
    # 0.00012 + 0.0004 + 0.0004 = 0.00092.
    money = budget(0.0010)
    assert [money.reserve(ASK) for _ in range(3)] == [True, True, False]
    money.settle(ASK, REPLY)
    assert [money.reserve(ASK) for _ in range(2)] == [True, False]


def test_a_reservation_given_back_can_be_had_again() -> None:
    money = budget(0.0005)
    assert [money.reserve(ASK) for _ in range(2)] == [True, False]
    money.release(ASK)
    assert money.reserve(ASK)
    assert money.spent == Spent()


def test_what_exactly_fits_is_sent() -> None:
    assert budget(0.0004).reserve(ASK)
    assert not budget(0.00039).reserve(ASK)
    assert not budget(0.0).reserve(ASK)


def test_what_earlier_runs_spent_counts_towards_the_limit() -> None:
    assert budget(0.0010, already_usd=0.0006).reserve(ASK)
    assert not budget(0.0010, already_usd=0.00061).reserve(ASK)


def test_a_server_that_counts_nothing_is_charged_by_our_own_count() -> None:
    money = budget(None)
    money.reserve(ASK)
    # 10 tokens in and one word out: 10·10 + 1·30.
    assert money.settle(ASK, Reply("k", "fine", "stop")) == pytest.approx(0.00013)


@pytest.mark.parametrize("finish", ["failed", "too_long"])
def test_what_was_not_answered_costs_nothing(finish: Any) -> None:
    money = budget(0.0004)
    assert money.reserve(ASK)
    assert money.settle(ASK, Reply("k", "", finish)) == 0.0
    assert money.reserve(ASK)


def test_a_failure_costs_its_malformed_replies() -> None:
    money = budget(None)
    money.reserve(ASK)
    assert money.settle(ASK, Reply("k", "", "failed", 9, 1)) == pytest.approx(0.00012)


def test_what_recordings_saved_is_counted_apart() -> None:
    money = budget(0.0)
    money.replay(REPLY, 0.5)
    money.replay(REPLY, 0.25)
    assert money.replayed == Spent(2, 18, 2, 0.75)
    assert money.spent == Spent()


def test_the_message_says_what_was_spent_by_whom_and_how_to_go_on() -> None:
    money = budget(0.5, already_usd=0.25)
    message = str(money.exceeded(ASK, 17))
    assert message.startswith("0.2500 USD spent (0.2500 of it by earlier runs) of ")
    assert "budget_usd = 0.5; the next request may cost 0.0004 USD. 17 requests are left" in message
    assert "run the same command with a larger budget_usd" in message
    assert "earlier runs" not in str(budget(0.5).exceeded(ASK, 1))


def test_a_free_judge_never_counts_tokens() -> None:
    def explode(text: str) -> int:
        raise AssertionError("counted")

    money = Budget(FREE, TokenCounter(explode, "never"), limit_usd=0.0)
    assert money.reserve(ASK)
    assert money.settle(ASK, Reply("k", "fine", "stop")) == 0.0
