from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import BudgetSpent, NotRecorded
from core.evaluation_config import JudgeBackendSection
from core.records import user
from judges.asking import Ask, Judge, Reply
from judges.backends.budget import ESTIMATE, FREE, Budget, Price, TokenCounter
from judges.backends.cassette import Cassette
from judges.backends.openai_judge import OpenAIJudge
from judges.backends.recorded import Recorded, Replayed, reply_facts
from tests.conftest import ROOT
from tests.judges.scripted import ScriptedJudge
from tests.servers import FakeOpenAI, Fault

WORDS = TokenCounter(lambda text: len(text.split()), "words")
PRICE = Price(10.0, 30.0)
KEY = "sk-very-secret-0123456789"


def asks(count: int, first: int = 0) -> list[Ask]:
    """Return requests that may cost 0.0004 dollars each: 3 + 4 + 3 tokens in, 10 out."""
    return [Ask(f"k{n}", tuple(user(f"this is {n}")), 10) for n in range(first, first + count)]


def answer(ask: Ask) -> Reply:
    """Cost 0.00013 dollars: 10 tokens in, one out."""
    text = f"re {ask.messages[0]['content']}"
    return Reply(ask.key, text, "stop", 10, 1, None, "served", None, 0.5, limit=ask.limit)


def failing(*keys: str) -> ScriptedJudge:
    def fail(ask: Ask) -> Reply:
        return Reply(ask.key, "", "failed", failure="HTTP 500") if ask.key in keys else answer(ask)

    return ScriptedJudge(fail)


def free() -> Budget:
    return Budget(FREE, ESTIMATE)


@pytest.fixture
def cassette(tmp_path: Path) -> Any:
    with Cassette(tmp_path / "c.sqlite") as opened:
        yield opened


def test_it_is_a_judge_with_the_name_and_identity_of_the_one_inside(cassette: Cassette) -> None:
    found: Judge = Recorded(ScriptedJudge(answer, "gpt", "openai/x/gpt"), cassette, free())
    replayed: Judge = Replayed(cassette, "openai/x/gpt", "gpt")
    assert (found.name, found.identity) == (replayed.name, replayed.identity)
    assert (found.name, found.identity) == ("gpt", "openai/x/gpt")


def test_what_is_recorded_is_not_asked_again(cassette: Cassette) -> None:
    judge = ScriptedJudge(answer)
    first = list(Recorded(judge, cassette, free()).ask(asks(3)))
    again = list(Recorded(judge, cassette, free()).ask(asks(5)))
    assert judge.calls == [["k0", "k1", "k2"], ["k3", "k4"]]
    assert again[:3] == first == [answer(ask) for ask in asks(3)]
    assert again[3:] == [answer(ask) for ask in asks(2, first=3)]


def test_another_judge_is_asked_although_the_requests_are_the_same(cassette: Cassette) -> None:
    list(Recorded(ScriptedJudge(answer, identity="one"), cassette, free()).ask(asks(1)))
    other = ScriptedJudge(answer, identity="two")
    list(Recorded(other, cassette, free()).ask(asks(1)))
    assert other.asked == ["k0"]


def test_each_reply_is_recorded_before_it_is_handed_out(cassette: Cassette) -> None:
    replies = Recorded(ScriptedJudge(answer), cassette, free()).ask(asks(3))
    for count, _ in enumerate(replies, start=1):
        assert len(cassette) == count


def test_equal_requests_under_several_keys_are_asked_once(cassette: Cassette) -> None:
    message = tuple(user("same"))
    same = [Ask("a", message, 10), Ask("b", message, 10), Ask("c", message, 10, draw=1)]
    judge = ScriptedJudge(answer)
    recorded = Recorded(judge, cassette, free())
    replies = list(recorded.ask(same))
    assert judge.asked == ["a", "c"]
    assert [(r.key, r.text) for r in replies] == [(k, "re same") for k in "abc"]
    assert (recorded.budget.spent.requests, recorded.budget.replayed.requests) == (2, 1)
    assert sorted(r.key for r in recorded.ask(same)) == ["a", "b", "c"]
    assert judge.asked == ["a", "c"]


def test_two_asks_under_one_key_are_a_mistake(cassette: Cassette) -> None:
    with pytest.raises(ValueError, match="two asks have the key 'k0'"):
        list(Recorded(ScriptedJudge(answer), cassette, free()).ask(asks(1) * 2))
    with pytest.raises(ValueError, match="two asks have the key 'k0'"):
        list(Replayed(cassette, "test/1", "judge").ask(asks(1) * 2))


def test_failures_are_handed_out_and_asked_again_next_time(cassette: Cassette) -> None:
    first = list(Recorded(failing("k1"), cassette, free()).ask(asks(3)))
    assert [r.finish for r in first] == ["stop", "failed", "stop"]
    assert len(cassette) == 2
    judge = ScriptedJudge(answer)
    again = list(Recorded(judge, cassette, free()).ask(asks(3)))
    assert judge.asked == ["k1"]
    assert {r.finish for r in again} == {"stop"}


@pytest.mark.parametrize("finish", ["too_long", "refused", "length"])
def test_every_outcome_but_failure_is_recorded(cassette: Cassette, finish: Any) -> None:
    judge = ScriptedJudge(lambda ask: Reply(ask.key, "x", finish))
    for _ in range(2):
        assert [r.finish for r in Recorded(judge, cassette, free()).ask(asks(1))] == [finish]
    assert judge.asked == ["k0"]


def test_missing_lists_what_would_have_to_be_paid_for(cassette: Cassette) -> None:
    recorded = Recorded(ScriptedJudge(answer), cassette, free())
    list(recorded.ask(asks(2)))
    double = Ask("again", asks(3)[2].messages, 10)
    assert [ask.key for ask in recorded.missing([*asks(4), double])] == ["k2", "k3"]


def test_the_limit_stops_before_it_is_passed_and_a_larger_one_pays_nothing_twice(
    cassette: Cassette,
) -> None:
    # At most 0.0004 each, in fact 0.00013. Of 0.001: 2 fit at once (0.0008); 0.00026 spent, 1 fits;
    # 0.00039, 1; 0.00052, 1; then 0.00065 + 0.0004 does not fit.
    judge = ScriptedJudge(answer)
    small = Recorded(judge, cassette, Budget(PRICE, WORDS, limit_usd=0.001))
    found: list[Reply] = []
    with pytest.raises(BudgetSpent, match=r"USD spent of .* 5 requests are left"):
        found.extend(small.ask(asks(10)))  # keeps what came before the error
    assert judge.calls == [["k0", "k1"], ["k2"], ["k3"], ["k4"]]
    assert [r.key for r in found] == ["k0", "k1", "k2", "k3", "k4"]
    assert small.budget.spent[:3] == (5, 50, 5)
    assert small.budget.spent.usd == pytest.approx(0.00065)
    assert cassette.cost_usd() == pytest.approx(0.00065)

    same = Budget(PRICE, WORDS, limit_usd=0.001, already_usd=cassette.cost_usd())
    with pytest.raises(BudgetSpent, match="by earlier runs"):
        list(Recorded(judge, cassette, same).ask(asks(10)))
    assert len(judge.asked) == 5  # the same limit is not spent a second time

    larger = Budget(PRICE, WORDS, limit_usd=0.01, already_usd=cassette.cost_usd())
    replies = list(Recorded(judge, cassette, larger).ask(asks(10)))
    assert sorted(judge.asked) == sorted(ask.key for ask in asks(10))
    assert len(replies) == 10
    assert larger.spent.usd == larger.replayed.usd == pytest.approx(0.00065)


def test_a_limit_too_small_for_one_request_sends_none(cassette: Cassette) -> None:
    judge = ScriptedJudge(answer)
    with pytest.raises(BudgetSpent, match="3 requests are left"):
        list(Recorded(judge, cassette, Budget(PRICE, WORDS, limit_usd=0.0001)).ask(asks(3)))
    assert judge.asked == []


def test_recorded_replies_come_even_with_no_money_left(cassette: Cassette) -> None:
    list(Recorded(ScriptedJudge(answer), cassette, free()).ask(asks(2)))
    broke = Recorded(ScriptedJudge(answer), cassette, Budget(PRICE, WORDS, limit_usd=0.0))
    assert len(list(broke.ask(asks(2)))) == 2


def test_a_judge_that_stops_gives_its_reservations_back(cassette: Cassette) -> None:
    def breaks(ask: Ask) -> Reply:
        if ask.key == "k1":
            raise RuntimeError("no more")
        return answer(ask)

    money = Budget(PRICE, WORDS, limit_usd=0.0013)
    with pytest.raises(RuntimeError, match="no more"):
        list(Recorded(ScriptedJudge(breaks), cassette, money).ask(asks(3)))
    # 0.00013 is spent; 0.0013 − 0.00013 leaves room for two at 0.0004, if nothing is held back.
    assert [money.reserve(ask) for ask in asks(3)] == [True, True, False]


def test_failures_cost_nothing_of_the_limit(cassette: Cassette) -> None:
    judge = failing(*(f"k{n}" for n in range(10)))
    money = Budget(PRICE, WORDS, limit_usd=0.0009)
    replies = list(Recorded(judge, cassette, money).ask(asks(10)))
    assert {r.finish for r in replies} == {"failed"}
    assert money.spent.usd == 0.0


def test_a_replay_gives_equal_replies_and_asks_nobody(cassette: Cassette) -> None:
    recorded = list(Recorded(ScriptedJudge(answer), cassette, free()).ask(asks(4)))
    replayed = Replayed(cassette, "test/1", "judge")
    assert list(replayed.ask(asks(4))) == recorded == list(replayed.ask(asks(4)))
    renamed = Ask("other", asks(1)[0].messages, 10)
    assert next(replayed.ask([renamed])) == replace(recorded[0], key="other")


def test_a_replay_that_lacks_a_request_names_it_and_says_how_to_record_it(
    cassette: Cassette,
) -> None:
    list(Recorded(ScriptedJudge(answer), cassette, free()).ask(asks(2)))
    with pytest.raises(NotRecorded) as caught:
        next(Replayed(cassette, "test/1", "judge").ask(asks(4)))
    message = str(caught.value)
    assert "2 of 4 requests to test/1 are not recorded; the first is k2" in message
    assert "“this is 2 …”" in message
    assert "evaluation.judge.replay=false" in message
    assert str(cassette.path) in message


# ── with a real server ──────────────────────────────────────────────────────────────────────────


def echo(messages: list[dict[str, str]]) -> str:
    return f"re: {messages[-1]['content']}"


def client(server: FakeOpenAI, **settings: Any) -> OpenAIJudge:
    defaults: dict[str, Any] = {"model": "m", "timeout_s": 5.0, "max_retries": 1}
    section = JudgeBackendSection(base_url=server.base_url, **(defaults | settings))
    return OpenAIJudge(section, backoff_s=0.01)


def prompts(bodies: list[dict[str, Any]]) -> Counter[str]:
    return Counter(body["messages"][0]["content"] for body in bodies)


def test_a_server_killed_and_restarted_loses_nothing_and_is_asked_nothing_twice(
    cassette: Cassette,
) -> None:
    with FakeOpenAI(echo, delay_s=0.02) as server:
        first = {}
        for reply in Recorded(client(server, concurrency=4), cassette, free()).ask(asks(60)):
            first[reply.key] = reply
            if len(first) == 15:
                server.kill()
        kept = {k: r for k, r in first.items() if r.finish != "failed"}
        assert len(first) == 60
        assert 15 <= len(kept) < 60
        assert len(cassette) == len(kept)
        before = len(server.bodies)
        server.start()
        again = {r.key: r for r in Recorded(client(server), cassette, free()).ask(asks(60))}
    assert {k: again[k] for k in kept} == kept
    assert {r.text for r in again.values()} == {f"re: this is {n}" for n in range(60)}
    asked_now = prompts(server.bodies[before:])
    assert set(asked_now.values()) == {1}
    assert set(asked_now) == {f"this is {k[1:]}" for k in first.keys() - kept.keys()}


def test_an_offline_replay_of_a_stormy_run_is_identical_byte_for_byte(tmp_path: Path) -> None:
    faults = [
        Fault(429, headers={"Retry-After": "0"}),
        None,
        Fault(500),
        Fault(raw=b"{"),
        Fault(drop=True),
        None,
        Fault(hang_s=3.0),
    ] * 2
    path = tmp_path / "c.sqlite"
    with Cassette(path) as cassette:
        with FakeOpenAI(echo, faults=faults) as server:
            judge = client(server, max_retries=8, timeout_s=0.5, concurrency=4)
            replies = {r.key: r for r in Recorded(judge, cassette, free()).ask(asks(20))}
        cassette.export(tmp_path / "first.jsonl")
    # The server is gone from here on.
    with Cassette(path, read_only=True) as cassette:
        replayed = {r.key: r for r in Replayed(cassette, judge.identity, "m").ask(asks(20))}
        cassette.export(tmp_path / "second.jsonl")
    assert {r.text for r in replies.values()} == {f"re: this is {n}" for n in range(20)}
    assert replayed == replies
    assert repr(sorted(replayed.items())) == repr(sorted(replies.items()))
    assert (tmp_path / "first.jsonl").read_bytes() == (tmp_path / "second.jsonl").read_bytes()


def test_the_key_is_in_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with Cassette(tmp_path / "c.sqlite") as cassette, FakeOpenAI(echo) as server:
        list(Recorded(client(server), cassette, free()).ask(asks(3)))
        cassette.export(tmp_path / "c.jsonl")
    assert server.authorizations == {f"Bearer {KEY}"}
    for file in tmp_path.iterdir():
        data = file.read_bytes()
        assert b"this is 1" in data
        assert KEY.encode() not in data
        assert b"Bearer" not in data


def test_a_process_killed_while_asking_loses_at_most_what_was_under_way(tmp_path: Path) -> None:
    program = """
        import sys
        from pathlib import Path
        from core.evaluation_config import JudgeBackendSection
        from judges.backends.cassette import Cassette
        from judges.backends.openai_judge import OpenAIJudge
        from judges.backends.recorded import Recorded
        from tests.judges.backends.test_recorded import asks, free
        section = JudgeBackendSection(model="m", base_url=sys.argv[1], concurrency=3)
        with Cassette(Path(sys.argv[2])) as cassette:
            for reply in Recorded(OpenAIJudge(section), cassette, free()).ask(asks(40)):
                print(reply.key, flush=True)
    """
    path = tmp_path / "c.sqlite"
    with FakeOpenAI(echo, delay_s=0.05) as server:
        command = [sys.executable, "-c", textwrap.dedent(program), server.base_url, str(path)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout is not None
        shown = [process.stdout.readline().decode().strip() for _ in range(8)]
        process.kill()
        process.wait()
        process.stdout.close()
        time.sleep(0.2)  # requests under way end
        before = len(server.bodies)
        with Cassette(path) as cassette:
            kept = len(cassette)
            assert 8 <= kept <= before <= kept + 3
            replies = list(Recorded(client(server), cassette, free()).ask(asks(40)))
    assert {r.text for r in replies} == {f"re: this is {n}" for n in range(40)}
    assert len(server.bodies) - before == 40 - kept
    asked_again = {text for text, count in prompts(server.bodies).items() if count > 1}
    assert asked_again.isdisjoint({f"this is {key[1:]}" for key in shown})


def cut(ask: Ask) -> Reply:
    """Use up the limit on thinking, unless it is 50 or more."""
    return answer(ask) if ask.limit >= 50 else Reply(ask.key, "", "length", 10, ask.limit)


def test_a_reply_that_its_limit_cut_is_asked_for_again_with_more_tokens_and_no_other(
    cassette: Cassette,
) -> None:
    two = ScriptedJudge(lambda ask: cut(ask) if ask.key == "k0" else answer(ask))
    paid = Budget(PRICE, WORDS)
    found = list(Recorded(two, cassette, paid, charged=True).ask(asks(2)))
    assert [r.finish for r in found] == ["length", "stop"]
    # The same limit: nothing is asked twice.
    again = Recorded(two, cassette, free())
    list(again.ask(asks(2)))
    assert two.asked == ["k0", "k1"]
    assert "1 replies reached their limit before the first word" in str(again.summary())
    # More tokens: only the cut one. The old cost stays beside the new one.
    found = list(Recorded(two, cassette, paid, least_tokens=50).ask(asks(2)))
    assert two.asked == ["k0", "k1", "k0"]
    assert {r.finish for r in found} == {"stop"}
    assert cassette.cost_usd() == pytest.approx(paid.spent.usd)
    # The longer reply is the recording now, also for the lower limit and for a replay.
    assert [r.finish for r in Recorded(two, cassette, free()).ask(asks(2))] == ["stop", "stop"]
    replayed = Replayed(cassette, two.identity, "judge", least_tokens=50)
    assert [r.text for r in replayed.ask(asks(1))] == ["re this is 0"]
    assert len(two.asked) == 3


def test_a_replay_does_not_pass_off_a_cut_reply_as_one_with_more_tokens(cassette: Cassette) -> None:
    list(Recorded(ScriptedJudge(cut), cassette, free()).ask(asks(1)))
    with pytest.raises(NotRecorded):
        list(Replayed(cassette, "test/1", "judge", least_tokens=50).ask(asks(1)))


def test_a_manifest_says_which_models_answered_and_what_was_adapted(cassette: Cassette) -> None:
    snapshots = {"k0": "gpt-1-0613", "k1": "gpt-1-0613", "k2": "gpt-1-1106"}

    def named(ask: Ask) -> Reply:
        if ask.key == "k3":
            return Reply(ask.key, "", "refused")
        changed: dict[str, str | int] = {"temperature": "left out"} if ask.key == "k1" else {}
        return replace(answer(ask), model=snapshots[ask.key], adapted=changed)

    judge = Recorded(ScriptedJudge(named, "gpt-1"), cassette, free())
    list(judge.ask(asks(4)))
    # Another process, which sent none of them: the recordings say it.
    again = Recorded(ScriptedJudge(named, "gpt-1"), cassette, free())
    assert reply_facts(again, asks(4)) == {
        "judge": "gpt-1",
        "answered_by": {"gpt-1-0613": 2, "gpt-1-1106": 1},
        "adapted": {"temperature": "left out"},
    }
