from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest

from core.errors import DataError, ModelError
from core.records import user
from engines.engine import Continuation, Decoding, Logprob, Request, Sampled
from engines.ray.tasks import (
    failed,
    fingerprint,
    perform,
    sampled_rows,
    sampling_tasks,
    scored_rows,
    scoring_tasks,
)
from tests.engines.scripted import ScriptedEngine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.records import Message

WARM = Decoding(0.7, 0.9, 20, seed=5, stop=("\n", "Q:"), truncate=True)


def request(key: str, text: str, draws: int = 4) -> Request:
    return Request(key, user(text), tuple(range(draws)))


def keys(task: str) -> list[str]:
    return [r["key"] for r in json.loads(task)["sample"]]


def test_a_task_holds_whole_requests_and_no_more_draws_than_allowed() -> None:
    # 5 requests of 4 draws: two fill 8 of the 10 rows, a third would be 12.
    requests = [request(f"r{at}", f"prompt {at}") for at in range(5)]
    tasks = sampling_tasks(requests, WARM, rows=10, workers=1)
    assert [keys(task) for task in tasks] == [["r0", "r1"], ["r2", "r3"], ["r4"]]


def test_a_request_of_more_draws_than_a_task_may_hold_is_a_task_of_its_own() -> None:
    requests = [request("a", "a", 2), request("b", "b", 9), request("c", "c", 2)]
    tasks = sampling_tasks(requests, WARM, rows=4, workers=1)
    assert [keys(task) for task in tasks] == [["a"], ["b"], ["c"]]


def test_few_requests_are_spread_over_all_workers() -> None:
    # 16 calls of one draw would fit into one task of 64: two workers get 8 each.
    requests = [request(f"{at:02}", f"call {at:02}", 1) for at in range(16)]
    tasks = sampling_tasks(requests, WARM, rows=64, workers=2)
    assert [len(keys(task)) for task in tasks] == [8, 8]


def test_prompts_that_begin_alike_share_a_task() -> None:
    rubrics = ["Review the answer", "Translate this"]
    requests = [request(f"{r}{at}", f"{rubrics[r]}: {at}", 1) for at in range(3) for r in (0, 1)]
    tasks = sampling_tasks(requests, WARM, rows=3, workers=1)
    assert [keys(task) for task in tasks] == [["00", "01", "02"], ["10", "11", "12"]]


def test_no_requests_make_no_tasks() -> None:
    assert sampling_tasks([], WARM, rows=4, workers=2) == []
    assert scoring_tasks([], rows=4, workers=2) == []


def test_a_worker_sees_requests_and_decoding_as_they_were() -> None:
    class Witness(ScriptedEngine):
        def sample(self, requests: Sequence[Request], decoding: Decoding) -> Any:
            seen.append((list(requests), decoding))
            return super().sample(requests, decoding)

    seen: list[tuple[list[Request], Decoding]] = []
    turns: list[Message] = [
        {"role": "user", "content": "Zwölf?\u2028 ☂"},
        {"role": "assistant", "content": "12"},
    ]
    requests = [Request("raw", "1 + 1 =", (0,)), Request("talk", turns, (3, 1), temperature=0.1)]
    (task,) = sampling_tasks(requests, WARM, rows=9, workers=1)
    perform(Witness(lambda messages, draw: "yes"), task)
    ((got, decoding),) = seen
    assert decoding == WARM
    assert sorted(got, key=lambda r: r.key) == requests


def test_draws_come_back_as_the_engine_made_them() -> None:
    def reply(messages: Sequence[Message], draw: int) -> str | None:
        return None if draw == 1 else f"ünique\u2028 {messages[-1]['content']} {draw}"

    (task,) = sampling_tasks([request("k", "Hi", 2)], WARM, rows=9, workers=1)
    outcome = perform(ScriptedEngine(reply, name="scripted/abc"), task)
    assert fingerprint(outcome) == "scripted/abc"
    assert sampled_rows(outcome) == [
        Sampled("k", 0, "ünique\u2028 Hi 0", 3, "stop"),
        Sampled("k", 1, "", 0, "too_long"),
    ]


def test_continuations_of_one_context_stay_together() -> None:
    # Two questions of four choices each, given in turns; a task of 5 rows holds one question.
    requests = [Continuation(f"Q{q}", f" {choice}") for choice in "abcd" for q in (1, 2)]
    tasks = scoring_tasks(requests, rows=5, workers=1)
    assert [task.places for task in tasks] == [[0, 2, 4, 6], [1, 3, 5, 7]]


def test_scores_come_back_exactly_and_in_the_order_of_their_places() -> None:
    told = {" a": Logprob(-0.1 - 1e-15, 1, greedy=True), " b": Logprob(-math.inf, 2, greedy=False)}
    engine = ScriptedEngine(lambda m, d: "", score=lambda request: told[request.continuation])
    talk = ({"role": "user", "content": "Q"},)
    requests = [Continuation(talk, " b"), Continuation("Q", " a"), Continuation(talk, " a")]  # type: ignore[arg-type]
    (task,) = scoring_tasks(requests, rows=9, workers=1)
    found = dict(zip(task.places, scored_rows(perform(engine, task.task)), strict=True))
    assert [found[at] for at in range(3)] == [told[" b"], told[" a"], told[" a"]]


def test_a_worker_scores_what_was_asked_with_the_beginning_of_the_turn() -> None:
    seen: list[Continuation] = []

    def score(request: Continuation) -> Logprob:
        seen.append(request)
        return Logprob(0.0, 1, greedy=True)

    talk = ({"role": "user", "content": "Q"},)
    asked = [Continuation(talk, "4", "Good. Score: "), Continuation("raw", " x")]  # type: ignore[arg-type]
    (task,) = scoring_tasks(asked, rows=9, workers=1)
    perform(ScriptedEngine(lambda m, d: "", score=score), task.task)
    assert seen == [asked[place] for place in task.places]


@pytest.mark.parametrize(
    "error", [ModelError("m: no config.json"), DataError("rows.jsonl", 17, "score 'six'")]
)
def test_an_expected_error_comes_back_as_itself(error: ModelError | DataError) -> None:
    for read in (fingerprint, sampled_rows, scored_rows):
        with pytest.raises(type(error)) as raised:
            read(failed(error))
        assert str(raised.value) == str(error)
