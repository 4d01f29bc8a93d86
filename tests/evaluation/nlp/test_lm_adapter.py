from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from lm_eval.api.instance import Instance

from core.errors import ConfigError, ModelError
from core.records import Message
from engines.engine import Continuation, Logprob, Request
from evaluation.nlp.lm_adapter import EngineLM
from tests.engines.scripted import ScriptedEngine


def instance(kind: str, *arguments: Any) -> Instance:
    return Instance(kind, {}, arguments, 0, ("some_task", 0, 1))


def echo(messages: Sequence[Message], draw: int) -> str:
    return f"{messages[0]['content']} once. And\nagain"


def generate(engine: ScriptedEngine, *asked: tuple[str, dict[str, Any]]) -> list[str]:
    lm = EngineLM(engine, "some_task")
    return lm.generate_until([instance("generate_until", *one) for one in asked])


def test_log_probabilities_come_in_the_order_asked_with_their_greediness() -> None:
    def score(request: Continuation) -> Logprob:
        return Logprob(-float(len(request.continuation)), 1, request.context == "Q")

    lm = EngineLM(ScriptedEngine(echo, score=score), "some_task")
    asked = [instance("loglikelihood", c, t) for c, t in (("Q", "abc"), ("", "a"), ("Q", "ab"))]
    assert lm.loglikelihood(asked) == [(-3.0, True), (-1.0, False), (-2.0, True)]


def test_every_one_of_thousands_of_requests_is_scored_once() -> None:
    seen: list[str] = []

    def score(request: Continuation) -> Logprob:
        seen.append(request.continuation)
        return Logprob(float(request.continuation), 1, False)

    lm = EngineLM(ScriptedEngine(echo, score=score), "some_task")
    found = lm.loglikelihood([instance("loglikelihood", "Q", str(n)) for n in range(5000)])
    assert found == [(float(n), False) for n in range(5000)]
    assert len(seen) == 5000


def test_texts_end_before_the_first_stop_string_and_prompts_are_raw() -> None:
    options = {"until": ["\n", "."], "do_sample": False, "temperature": 0.0}
    assert generate(ScriptedEngine(echo), ("Q: a", options), ("Q: b", {"until": "And"})) == [
        "Q: a once",
        "Q: b once. ",
    ]


def test_a_thought_is_no_part_of_an_answer() -> None:
    engine = ScriptedEngine(lambda m, d: "<think>3? 5?</think>\n\nThe answer is 4")
    assert generate(engine, ("Q: a", {"until": ["Q:"]})) == ["The answer is 4"]


def test_tasks_with_different_options_are_answered_in_the_order_asked() -> None:
    long, short = {"until": [], "max_gen_toks": 4}, {"until": [], "max_new_tokens": 2}
    asked = [("a", short), ("b", long), ("c", short)]
    assert generate(ScriptedEngine(echo), *asked) == [
        "a once.",
        "b once. And\nagain",
        "c once.",
    ]


def test_without_a_limit_256_tokens_are_generated_greedily_as_by_lm_evals_own_model() -> None:
    seen = []

    class Watched(ScriptedEngine):
        def sample(self, requests: Sequence[Request], decoding: Any) -> Any:
            seen.append(decoding)
            return super().sample(requests, decoding)

    generate(Watched(echo), ("a", {"until": ["Q:"]}))
    (decoding,) = seen
    assert (decoding.max_new_tokens, decoding.temperature, decoding.stop) == (256, 0.0, ("Q:",))
    assert decoding.truncate


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"until": [], "do_sample": True}, "asks for sampling"),
        ({"until": [], "temperature": 0.8}, "asks for sampling"),
        ({"until": [], "num_beams": 4}, "not supported here: num_beams"),
    ],
)
def test_what_is_not_greedy_decoding_is_refused_by_the_tasks_name(
    options: dict[str, Any], said: str
) -> None:
    engine = ScriptedEngine(echo)
    with pytest.raises(ConfigError, match=f"some_task: .*{said}"):
        generate(engine, ("a", options))
    assert engine.calls == []


def test_perplexity_tasks_are_refused() -> None:
    lm = EngineLM(ScriptedEngine(echo), "some_task")
    with pytest.raises(ConfigError, match="some_task: perplexity tasks"):
        lm.loglikelihood_rolling([instance("loglikelihood_rolling", "text")])


def test_a_window_without_room_for_new_tokens_is_an_error_not_an_empty_answer() -> None:
    engine = ScriptedEngine(lambda messages, draw: None)
    with pytest.raises(ModelError, match="no room for 256 new tokens"):
        generate(engine, ("a", {"until": ["\n"]}))


def test_no_requests_give_no_answers() -> None:
    lm = EngineLM(ScriptedEngine(echo), "some_task")
    assert lm.generate_until([]) == []
    assert lm.loglikelihood([]) == []
