from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests import loop
from tests.dialects import DIALECTS, DialectServer
from tests.servers import FakeOpenAI, Fault

RIGHT = ("Paris.", "Go to bed", "80 km/h.")


def check(out_dir: Path, server: FakeOpenAI, *settings: str) -> subprocess.CompletedProcess[str]:
    given = [
        f"out_dir={out_dir}",
        "evaluation.judge.backend=openai",
        "evaluation.judge.model=alias",
        f"evaluation.judge.base_url={server.base_url}",
        "evaluation.judge.max_retries=1",
        "evaluation.head_to_head.prompt=alpaca_eval",
        "evaluation.alpaca_eval.annotator=alpaca_eval_gpt4",
        *settings,
    ]
    options = [part for setting in given for part in ("--set", setting)]
    return loop.main("evaluation", "judge-check", "--config", loop.SMOKE, "--json", *options)


def knows_the_answers(messages: list[dict[str, str]]) -> Any:
    """Grade and rank by what is right; give log-probabilities for verdict tokens."""
    text = messages[-1]["content"]
    if "## Best Model Identifier" in text:
        top = [{"token": "m", "logprob": -0.5}, {"token": "M", "logprob": -1.5}]
        logprobs = {"content": [{**top[0], "top_logprobs": top}]}
        return {"message": {"content": "m"}, "finish_reason": "length", "logprobs": logprobs}
    if "'rank'" not in text:
        return f"Score: {5 if RIGHT[0] in text else 0}"
    _, first, second = text.split('"answer": """')
    ranks = (1, 2) if any(words in first for words in RIGHT) else (2, 1)
    assert any(words in (first, second)[ranks[0] - 1] for words in RIGHT)
    return (
        f"[{{'model': 'model_1', 'rank': {ranks[0]}}}, {{'model': 'model_2', 'rank': {ranks[1]}}}]"
    )


def test_a_good_judge_is_asked_ten_questions_once(tmp_path: Path) -> None:
    with FakeOpenAI(knows_the_answers) as server:
        done = check(tmp_path, server, "evaluation.judge.price_usd=[1.0, 2.0]")
        again = check(tmp_path, server, "evaluation.judge.price_usd=[1.0, 2.0]")
        assert len(server.bodies) == 10
    assert (done.returncode, again.returncode) == (0, 0), done.stderr
    found, replayed = json.loads(done.stdout), json.loads(again.stdout)
    assert found["pairs"] == {"asked": 6, "read": 6, "flipped": 0, "right": 3}
    assert found["gradings"] == {"asked": 2, "read": 2, "right": 5.0, "wrong": 0.0}
    # e^-0.5 + e^-1.5
    assert found["verdict_mass"] == pytest.approx(0.6065 + 0.2231, abs=1e-4)
    assert found["answered_by"] == {"served-model": 10}
    assert found["usd"] == pytest.approx((found["tokens_in"] + 2 * found["tokens_out"]) / 1e6)
    assert (found["from_cassette"], replayed["from_cassette"]) == (0, 10)
    assert found["problems"] == replayed["problems"] == []


def test_a_reasoning_model_without_room_to_think_is_found_out(tmp_path: Path) -> None:
    with DialectServer(DIALECTS["openai"]) as server:
        done = check(tmp_path, server)
        assert done.returncode == 1
        found = json.loads(done.stdout)
        assert found["adapted"] == DIALECTS["openai"].adapted
        assert any("min_reply_tokens" in problem for problem in found["problems"])
        assert "You are not allowed to request logprobs" in found["verdict_mass"]
        # With room it answers; always the first answer, whichever that is.
        done = check(tmp_path, server, "evaluation.judge.min_reply_tokens=1000")
    found = json.loads(done.stdout)
    assert found["pairs"] == {"asked": 6, "read": 6, "flipped": 3, "right": 0}
    assert "pairs: the winner changes with the order in 3 of 3 pairs" in found["problems"]


def test_log_probabilities_are_a_problem_only_where_a_benchmark_needs_them(tmp_path: Path) -> None:
    with DialectServer(DIALECTS["azure"]) as server:
        done = check(tmp_path, server, "evaluation.head_to_head.prompt=first_token")
    problems = json.loads(done.stdout)["problems"]
    assert any("gives no log-probabilities" in problem for problem in problems)


def test_a_judge_that_no_request_can_reach_ends_with_exit_code_2(tmp_path: Path) -> None:
    wrong_key = Fault(401, {"error": {"message": "Incorrect API key provided"}})
    with FakeOpenAI(knows_the_answers, fault_for=lambda body: wrong_key) as server:
        done = check(tmp_path, server)
    assert done.returncode == 2
    assert "the key in OPENAI_API_KEY is missing or wrong" in done.stderr


def test_requests_that_fail_are_said_and_not_recorded(tmp_path: Path) -> None:
    down = Fault(503, {"error": {"message": "overloaded"}})
    with FakeOpenAI(knows_the_answers, fault_for=lambda body: down) as server:
        done = check(tmp_path, server, "evaluation.judge.max_retries=0")
        assert done.returncode == 1
        server.fault_for = lambda body: None
        assert check(tmp_path, server).returncode == 0
    assert any("6 of 6 requests failed: HTTP 503" in p for p in json.loads(done.stdout)["problems"])
