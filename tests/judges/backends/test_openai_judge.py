from __future__ import annotations

import base64
import json
import logging
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from core.errors import ConfigError
from core.evaluation_config import JudgeBackendSection
from core.records import user
from judges.asking import Ask, Judge, Reply
from judges.backends.openai_judge import OpenAIJudge, identity_of
from tests.conftest import ROOT
from tests.servers import (
    BROKEN,
    CUT_OFF,
    DROPPED,
    NO_CHOICES,
    NO_CONTENT,
    TOO_LONG,
    TOO_MANY,
    TRUNCATED,
    FakeOpenAI,
    Fault,
    rejects,
)

KEY = "sk-very-secret-0123456789"


def asks(count: int, **more: Any) -> list[Ask]:
    """Return requests whose answers can be told apart."""
    return [Ask(f"k{n}", tuple(user(f"question {n}")), 20, **more) for n in range(count)]


def echo(messages: list[dict[str, str]]) -> str:
    return f"re: {messages[-1]['content']}"


def judge(server: FakeOpenAI | str, **settings: Any) -> OpenAIJudge:
    """Return a judge that is quick to try again."""
    base_url = server if isinstance(server, str) else server.base_url
    defaults: dict[str, Any] = {"model": "m", "timeout_s": 5.0, "max_retries": 6}
    section = JudgeBackendSection(base_url=base_url, **(defaults | settings))
    return OpenAIJudge(section, backoff_s=0.01)


def only(found: OpenAIJudge, ask: Ask | None = None) -> Reply:
    (reply,) = found.ask([ask or asks(1)[0]])
    return reply


def test_every_request_has_its_own_reply() -> None:
    with FakeOpenAI(echo) as server:
        replies = {r.key: r for r in judge(server).ask(asks(30))}
    assert {k: r.text for k, r in replies.items()} == {
        f"k{n}": f"re: question {n}" for n in range(30)
    }
    one = replies["k0"]
    # "question 0" is two words and "re: question 0" three: the server counts words.
    assert (one.finish, one.tokens_in, one.tokens_out) == ("stop", 2, 3)
    assert (one.model, one.failure, one.logprobs) == ("served-model", None, None)
    assert one.seconds > 0
    assert len(server.bodies) == 30


def test_it_is_a_judge_with_the_models_name_and_an_identity_without_credentials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://somebody:hunter2@127.0.0.1:9/v1")
    found: Judge = OpenAIJudge(JudgeBackendSection(model="m", max_retries=0))
    assert (found.name, found.identity) == ("m", "openai/127.0.0.1:9/m")
    (reply,) = found.ask(asks(1))
    assert "hunter2" not in str(reply)


@pytest.mark.parametrize("address", ["api.example/v1", "http://x/v1\nhunter2", "socks5://hunter2"])
def test_an_address_of_the_environment_that_is_none_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    with pytest.raises(ConfigError, match="OPENAI_BASE_URL is not") as caught:
        OpenAIJudge(JudgeBackendSection(model="m"))
    assert "hunter2" not in str(caught.value)


def test_nothing_to_ask_opens_no_connection() -> None:
    with FakeOpenAI(echo) as server:
        assert list(judge(server).ask([])) == []
    assert server.bodies == []


def test_two_asks_under_one_key_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="two asks have the key 'k0'"):
        list(judge("http://127.0.0.1:9/v1").ask([asks(1)[0]] * 2))


@pytest.mark.parametrize(
    ("fault", "tokens"),
    [
        (TOO_MANY, 2),
        (BROKEN, 2),
        (Fault(503), 2),
        (Fault(408), 2),
        (Fault(409), 2),
        (TRUNCATED, 2),
        (NO_CHOICES, 2),
        (NO_CONTENT, 9),  # the malformed reply was billed at 7 tokens as well
        (DROPPED, 2),
        (CUT_OFF, 2),
        (Fault(hang_s=30.0), 2),
    ],
)
def test_what_can_pass_is_tried_again(fault: Fault, tokens: int) -> None:
    with FakeOpenAI(echo, faults=[fault]) as server:
        reply = only(judge(server, timeout_s=1.0))
    assert (reply.text, reply.finish, reply.tokens_in) == ("re: question 0", "stop", tokens)
    assert len(server.bodies) == 2


def test_a_storm_of_429_loses_nothing_and_answers_nothing_twice() -> None:
    with FakeOpenAI(echo, faults=[TOO_MANY, None] * 20) as server:
        replies = list(judge(server).ask(asks(20)))
    assert sorted(r.text for r in replies) == sorted(f"re: question {n}" for n in range(20))
    assert len(server.answered) == 20
    # 20 answered; refusals alternate with answers until the last answer.
    assert len(server.bodies) >= 39


def test_retry_after_is_waited_for_by_everybody() -> None:
    # Two are under way when the first is told to wait; nothing else is sent in that second.
    held = Fault(429, headers={"Retry-After": "1"})
    with FakeOpenAI(echo, faults=[held], delay_s=0.1) as server:
        replies = list(judge(server, concurrency=2).ask(asks(5)))
    assert {r.finish for r in replies} == {"stop"}
    since = [time - server.times[0] for time in server.times]
    assert len(since) == 6
    assert since[1] < 0.5
    assert since[2] >= 1.0
    assert since[-1] < 2.0


def test_a_reply_that_trickles_in_counts_as_timed_out() -> None:
    # Each byte comes well within the time-out, all of them do not.
    trickle = Fault(raw=b'{"choices": [{"message": {"content": "4"}}]}', pause_s=0.1)
    with FakeOpenAI(echo, fault_for=lambda body: trickle) as server:
        reply = only(judge(server, max_retries=0, timeout_s=0.5))
    assert (reply.finish, reply.failure) == ("failed", "no reply within 0.5 s (1 attempts)")


def test_a_server_that_asks_for_an_hour_is_not_waited_for() -> None:
    with FakeOpenAI(echo, faults=[Fault(429, headers={"Retry-After": "3600"})]) as server:
        reply = only(judge(server))
    assert reply.finish == "failed"
    assert str(reply.failure).endswith("to be asked again after 3600 s")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (BROKEN, "HTTP 500: The server had an error (3 attempts)"),
        (TRUNCATED, "malformed reply: not JSON: "),
        (DROPPED, "connection: "),
        (Fault(hang_s=30.0, status=500), "no reply within 0.3 s (3 attempts)"),
    ],
)
def test_after_all_retries_the_failure_says_why(fault: Fault, reason: str) -> None:
    with FakeOpenAI(echo, fault_for=lambda body: fault) as server:
        reply = only(judge(server, max_retries=2, timeout_s=0.3))
    assert (reply.finish, reply.text) == ("failed", "")
    assert reply.failure is not None
    assert reply.failure.startswith(reason)
    assert "(3 attempts)" in reply.failure
    assert len(server.bodies) == 3


def test_one_bad_request_fails_alone_and_is_not_repeated() -> None:
    bad = Fault(400, {"error": {"message": "invalid content", "code": "invalid_value"}})

    def third(body: dict[str, Any]) -> Fault | None:
        return bad if body["messages"][0]["content"] == "question 3" else None

    with FakeOpenAI(echo, fault_for=third) as server:
        replies = {r.key: r for r in judge(server).ask(asks(6))}
    assert [k for k, r in sorted(replies.items()) if r.finish == "failed"] == ["k3"]
    assert replies["k3"].failure == "HTTP 400: invalid content"
    assert len(server.bodies) == 6


def test_a_prompt_too_long_is_an_outcome_and_not_a_failure() -> None:
    with FakeOpenAI(echo, fault_for=lambda body: TOO_LONG) as server:
        reply = only(judge(server))
    assert (reply.finish, reply.failure, len(server.bodies)) == ("too_long", None, 1)


@pytest.mark.parametrize(
    "choice",
    [
        {"message": {"content": None, "refusal": "I can't help with that."}},
        {"message": {"content": ""}, "finish_reason": "content_filter"},
    ],
)
def test_a_refusal_is_an_outcome_and_not_a_failure(choice: dict[str, Any]) -> None:
    with FakeOpenAI(lambda messages: choice) as server:
        reply = only(judge(server))
    assert (reply.finish, reply.failure, len(server.bodies)) == ("refused", None, 1)


def test_reasoning_that_a_server_sends_apart_is_kept_and_is_not_the_reply() -> None:
    choice = {"message": {"content": "[[7]]", "reasoning_content": "[[3]]?"}}
    with FakeOpenAI(lambda messages: choice) as server:
        reply = only(judge(server))
    assert (reply.text, reply.thought) == ("[[7]]", "[[3]]?")


def test_variables_of_the_chat_template_are_sent_and_part_of_the_identity() -> None:
    with FakeOpenAI(echo) as server:
        plain, silent = (
            judge(server),
            judge(server, chat_template_kwargs={"enable_thinking": False}),
        )
        only(plain)
        only(silent)
    assert "chat_template_kwargs" not in server.bodies[0]
    assert server.bodies[1]["chat_template_kwargs"] == {"enable_thinking": False}
    assert silent.identity == f'{plain.identity} {{"enable_thinking": false}}'


def test_log_probabilities_come_through_unchanged() -> None:
    logprobs = {"content": [{"token": "m", "logprob": -0.25, "top_logprobs": []}]}
    choice = {"message": {"content": "m"}, "finish_reason": "length", "logprobs": logprobs}
    with FakeOpenAI(lambda messages: choice) as server:
        reply = only(judge(server), asks(1, weigh=("m", "M"))[0])
    assert (reply.text, reply.finish, reply.logprobs) == ("m", "length", logprobs)
    assert (server.bodies[0]["logprobs"], server.bodies[0]["top_logprobs"]) == (True, 5)


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (401, "invalid_api_key", "the key in OPENAI_API_KEY is missing or wrong"),
        (403, None, "has no right to this model"),
        (404, "model_not_found", "check evaluation.judge.model and base_url"),
        (429, "insufficient_quota", "has no credit left"),
    ],
)
def test_what_no_request_can_get_past_stops_everything_at_once(
    monkeypatch: pytest.MonkeyPatch, status: int, code: str | None, words: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    fault = Fault(status, {"error": {"message": f"Incorrect API key: {KEY}", "code": code}})
    with (
        FakeOpenAI(echo, fault_for=lambda body: fault) as server,
        pytest.raises(ConfigError) as caught,
    ):
        list(judge(server, concurrency=4).ask(asks(100)))
    assert words in str(caught.value)
    assert f"HTTP {status}: Incorrect API key: [secret]" in str(caught.value)
    assert KEY not in str(caught.value)
    assert len(server.bodies) <= 4


def test_the_key_is_sent_and_never_shown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SOME_KEY", KEY)
    fault = Fault(500, {"error": {"message": f"cannot authorise {KEY} now"}})
    with caplog.at_level(logging.DEBUG), FakeOpenAI(echo, fault_for=lambda body: fault) as server:
        found = judge(server, api_key_env="SOME_KEY", max_retries=1)
        reply = only(found)
    assert server.authorizations == {f"Bearer {KEY}"}
    assert reply.failure == "HTTP 500: cannot authorise [secret] now (2 attempts)"
    ours = [r.getMessage() for r in caplog.records if r.name.startswith("judges")]
    assert KEY not in "".join([*ours, repr(found), found.identity])


def forms(key: str) -> list[str]:
    """How a server or a library may quote a key."""
    encoded = base64.b64encode(key.encode()).decode()
    return [key, f"{key}\\n", f"b'Bearer {key}\\n'", quote(key, safe=""), encoded]


@pytest.mark.parametrize(
    "fault_of",
    [
        lambda words: Fault(400, {"error": {"message": words}}),
        lambda words: Fault(400, {"error": {"message": words, "param": "temperature",
                                            "code": "unsupported_value"}}),
        lambda words: Fault(400, {"error": {"message": words, "param": "logprobs",
                                            "code": "unsupported_value"}}),
        lambda words: Fault(401, {"error": {"message": words}}),
        lambda words: Fault(403, {"error": {"message": words}}),
        lambda words: Fault(404, {"detail": words}),
        lambda words: Fault(418, raw=words.encode()),
        lambda words: Fault(429, {"error": {"message": words, "code": "insufficient_quota"}}),
        lambda words: Fault(429, {"error": {"message": words}}, {"Retry-After": "9999"}),
        lambda words: Fault(500, {"error": {"message": "x" * 290 + words}}),
        lambda words: Fault(502, raw=f"<html>{words}</html>".encode()),
        lambda words: Fault(raw=f"{'x' * 50}{words}".encode()),
        lambda words: Fault(raw=json.dumps({"error": {"message": words, "code": 502}}).encode()),
        lambda words: Fault(raw=json.dumps([{"error": {"message": words}}]).encode()),
    ],
)  # fmt: skip
def test_a_key_with_a_line_break_is_in_no_error(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fault_of: Callable[[str], Fault],
) -> None:
    key = "sk-te/st+0123456789"
    monkeypatch.setenv("OPENAI_API_KEY", f"{key}\n")
    fault = fault_of(" ".join(forms(key)))
    with FakeOpenAI(echo, fault_for=lambda body: fault) as server:
        try:
            text = str(only(judge(server, max_retries=1), asks(1, weigh=("m",))[0]))
        except ConfigError as error:
            text = str(error)
    assert server.authorizations == {f"Bearer {key}"}
    said = " ".join([text, *(r.getMessage() for r in caplog.records if "judges" in r.name)])
    for part in ("sk-te", "st+0123", "st%2B", forms(key)[-1][:8]):
        assert part not in said


def test_openai_itself_needs_a_key_and_another_server_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    section = JudgeBackendSection(api_key_env="MY_KEY")
    with pytest.raises(ConfigError, match="set the environment variable MY_KEY"):
        OpenAIJudge(section)
    with FakeOpenAI(echo) as server:
        assert only(judge(server, api_key_env="MY_KEY")).finish == "stop"


def test_the_address_is_the_settings_then_the_environments_then_openais(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://env.example:1/v1")
    assert identity_of(JudgeBackendSection(model="m")) == "openai/env.example:1/m"
    given = JudgeBackendSection(model="m", base_url="https://x.example/v1")
    assert identity_of(given) == "openai/x.example/m"
    monkeypatch.delenv("OPENAI_BASE_URL")
    assert identity_of(JudgeBackendSection(model="m")) == "openai/api.openai.com/m"


def test_a_model_that_rejects_parameters_is_asked_without_them_from_then_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def newer(body: dict[str, Any]) -> Fault | None:
        if "max_tokens" in body:
            return rejects("max_tokens")
        return rejects("temperature", "unsupported_value") if "temperature" in body else None

    with FakeOpenAI(echo, fault_for=newer) as server:
        found = judge(server, concurrency=3, max_retries=0)
        first = list(found.ask(asks(9)))
        asked = len(server.bodies)
        again = list(found.ask(asks(9)))
    assert {r.finish for r in first + again} == {"stop"}
    assert found.adapted == {"max_tokens": "max_completion_tokens", "temperature": "left out"}
    assert again[0].adapted == found.adapted
    # Three under way meet either rejection at most once each.
    assert 11 <= asked <= 9 + 3 * 2
    assert len(server.bodies) - asked == 9
    assert server.bodies[-1]["max_completion_tokens"] == 20
    warnings = [r.getMessage() for r in caplog.records if r.name == "judges.backends.openai_judge"]
    assert len(warnings) == 2
    assert "refuses max_tokens; from here on: max_completion_tokens" in warnings[0]


def test_a_limit_that_is_too_low_for_the_server_is_raised_to_what_it_names() -> None:
    low = Fault(400, {"error": {"message": "Invalid 'max_output_tokens': integer below minimum "
                                "value. Expected a value >= 16, but got 1 instead."}})  # fmt: skip
    with FakeOpenAI(echo, fault_for=lambda b: low if b["max_tokens"] < 16 else None) as server:
        reply = only(judge(server), Ask("k", tuple(user("q")), 1))
    assert (reply.finish, reply.adapted) == ("stop", {"min_tokens": 16})


def test_a_parameter_that_is_refused_again_and_again_fails_with_the_servers_words() -> None:
    never = Fault(400, {"error": {"message": "temperature is not supported"}})
    with FakeOpenAI(echo, fault_for=lambda body: never) as server:
        reply = only(judge(server))
    assert (reply.finish, len(server.bodies)) == ("failed", 2)
    assert reply.failure == "HTTP 400: temperature is not supported"


def test_tokens_that_ran_out_before_the_answer_are_a_cut_reply_and_no_failure() -> None:
    words = "Could not finish the message because max_tokens or model output limit was reached."
    with FakeOpenAI(echo, faults=[Fault(400, {"error": {"message": words}})]) as server:
        reply = only(judge(server))
    assert (reply.finish, reply.text, reply.says_nothing) == ("length", "", True)


def test_a_server_without_log_probabilities_is_of_no_use_for_them() -> None:
    with (
        FakeOpenAI(echo, fault_for=lambda body: rejects("logprobs")) as server,
        pytest.raises(ConfigError, match="gives no log-probabilities"),
    ):
        only(judge(server), asks(1, weigh=("m", "M"))[0])


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "socks5://127.0.0.1:9", "nonsense://x"])
def test_a_server_on_this_machine_is_never_reached_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    monkeypatch.setenv("HTTP_PROXY", proxy)
    with FakeOpenAI(echo) as server:
        assert only(judge(server, max_retries=0)).finish == "stop"


@pytest.mark.parametrize(
    ("proxy", "words"), [("socks5://me:hunter2@127.0.0.1:9", "socks"), ("nonsense://x", "scheme")]
)
def test_a_proxy_that_cannot_be_used_is_one_line(
    monkeypatch: pytest.MonkeyPatch, proxy: str, words: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(ConfigError, match=f"the proxy that the environment names.*{words}") as got:
        only(judge("http://judge.example/v1", max_retries=0))
    assert "hunter2" not in str(got.value)


def test_no_more_than_the_set_number_of_requests_are_under_way() -> None:
    with FakeOpenAI(echo, delay_s=0.05) as server:
        began = time.monotonic()
        list(judge(server, concurrency=3).ask(asks(12)))
        took = time.monotonic() - began
    assert server.peak == 3
    assert took < 12 * 0.05  # and they do run side by side


def test_replies_that_nobody_fetches_count_as_under_way() -> None:
    with FakeOpenAI(echo) as server:
        replies = judge(server, concurrency=3).ask(asks(50))
        next(replies)
        time.sleep(0.5)  # the caller is busy
        assert len(server.bodies) <= 3
        replies.close()  # type: ignore[attr-defined]


def test_the_rate_limit_spaces_requests() -> None:
    # 600 a minute are ten a second: 6 requests take at least half a second.
    with FakeOpenAI(echo) as server:
        list(judge(server, concurrency=6, requests_per_minute=600).ask(asks(6)))
    assert server.times[-1] - server.times[0] >= 0.45
    assert len(server.bodies) == 6


def test_a_server_that_is_down_is_not_asked_for_ever() -> None:
    server = FakeOpenAI(echo)
    server.start()
    server.kill()  # a port where nobody listens
    began = time.monotonic()
    replies = list(judge(server, concurrency=2, max_retries=1).ask(asks(500)))
    assert time.monotonic() - began < 10
    assert len(replies) == len({r.key for r in replies}) == 500
    assert {r.finish for r in replies} == {"failed"}
    # 8 in a row say that it is down; one more may be under way by then.
    asked = [r for r in replies if str(r.failure).startswith("connection: ")]
    assert 8 <= len(asked) <= 9
    assert str(replies[-1].failure).startswith("not asked: the ")


def test_a_server_that_comes_back_on_its_port_is_found_again() -> None:
    with FakeOpenAI(echo, delay_s=0.02) as server:
        replies = judge(server, concurrency=4, max_retries=8).ask(asks(40))
        found = [next(replies) for _ in range(10)]
        server.kill()
        back = threading.Timer(0.3, server.start)
        back.start()
        found += replies
        back.join()
    assert sorted(r.text for r in found) == sorted(f"re: question {n}" for n in range(40))


def judge_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "judge"]


def test_closing_early_stops_at_once_and_leaves_no_thread() -> None:
    def slow(body: dict[str, Any]) -> Fault | None:
        return None if body["messages"][0]["content"] == "question 0" else Fault(hang_s=30.0)

    with FakeOpenAI(echo, fault_for=slow) as server:
        replies = judge(server, concurrency=4, timeout_s=30.0).ask(asks(20))
        assert next(replies).key == "k0"
        began = time.monotonic()
        replies.close()  # type: ignore[attr-defined]
        assert time.monotonic() - began < 2
    assert judge_threads() == []


def test_ctrl_c_ends_a_process_that_waits_for_replies() -> None:
    # A shell without job control starts background processes with SIGINT ignored.
    program = """
        import signal
        import sys
        signal.signal(signal.SIGINT, signal.default_int_handler)
        from core.evaluation_config import JudgeBackendSection
        from core.records import user
        from judges.asking import Ask
        from judges.backends.openai_judge import OpenAIJudge
        section = JudgeBackendSection(model="m", base_url=sys.argv[1], timeout_s=60)
        print("asking", flush=True)
        list(OpenAIJudge(section).ask([Ask(str(n), tuple(user("q")), 5) for n in range(20)]))
    """
    with FakeOpenAI(echo, fault_for=lambda body: Fault(hang_s=60.0)) as server:
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program), server.base_url],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        deadline = time.monotonic() + 60
        while not server.bodies and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
    assert b"KeyboardInterrupt" in errors
    assert b"Task was destroyed" not in errors
    assert process.returncode != 0
