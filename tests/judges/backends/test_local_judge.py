from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from core.config import EngineSection
from core.records import Message, user
from engines.engine import Continuation, Decoding, Logprob, Request, Sampled
from engines.hf.engine import HFEngine
from judges.asking import Ask, Judge
from judges.backends.local_judge import LocalJudge
from tests.engines.scripted import ScriptedEngine


class NotingEngine(ScriptedEngine):
    """Notes each call: the decoding with its requests, and the batches scored."""

    def __init__(self, **weights: float) -> None:
        super().__init__(lambda messages, draw: f"{messages[-1]['content']} {draw}")
        self._weights = weights
        self.sampled: list[tuple[Decoding, list[Request]]] = []
        self.scored: list[list[Continuation]] = []

    def sample(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Sampled]:
        self.sampled.append((decoding, list(requests)))
        return super().sample(requests, decoding)

    def score(self, requests: Sequence[Continuation]) -> list[Logprob]:
        self.scored.append(list(requests))
        return [Logprob(self._weights[r.continuation], 1, False) for r in requests]


def ask(key: str, text: str = "q", **more: object) -> Ask:
    return Ask(key, tuple(user(text)), **({"max_new_tokens": 20} | more))  # type: ignore[arg-type]


def weigh(key: str, text: str = "q") -> Ask:
    return Ask(key, tuple(user(text)), 1, weigh=("m", "M"))


def test_it_is_a_judge_whose_identity_is_the_engines_with_the_seed() -> None:
    judge: Judge = LocalJudge(ScriptedEngine(lambda m, d: "", name="weights/bf16"), "M1", seed=3)
    assert (judge.name, judge.identity) == ("M1", "weights/bf16/seed 3")


def test_each_ask_has_the_engines_words_for_its_conversation_and_draw() -> None:
    asks = [ask("a", "one"), ask("b", "two"), ask("c", "two", draw=2)]
    replies = {r.key: r for r in LocalJudge(NotingEngine(), "M1", seed=0).ask(asks)}
    assert {k: r.text for k, r in replies.items()} == {"a": "one 0", "b": "two 0", "c": "two 2"}
    one = replies["a"]
    assert (one.finish, one.tokens_out, one.model, one.failure) == ("stop", 2, "M1", None)
    assert one.logprobs is None


def test_asks_are_sampled_together_if_their_decoding_is_the_same() -> None:
    engine = NotingEngine()
    asks = [
        ask("a", "one", temperature=0.7, top_p=0.9),
        ask("b", "two"),
        ask("c", "three", temperature=0.7, top_p=0.9),
        ask("d", "four", max_new_tokens=5),
    ]
    assert len(list(LocalJudge(engine, "M1", seed=7).ask(asks))) == 4
    calls = [(decoding, [r.key for r in requests]) for decoding, requests in engine.sampled]
    assert calls == [
        (Decoding(0.7, 0.9, 20, 7), ["a", "c"]),
        (Decoding(0.0, 1.0, 20, 7), ["b"]),
        (Decoding(0.0, 1.0, 5, 7), ["d"]),
    ]


def test_draws_of_one_conversation_share_a_request_and_a_repeated_draw_has_its_own() -> None:
    engine = NotingEngine()
    asks = [ask("a"), ask("b", draw=1), ask("c", draw=1), ask("d", draw=2), ask("e", "other")]
    replies = {r.key: r.text for r in LocalJudge(engine, "M1", seed=0).ask(asks)}
    assert replies == {"a": "q 0", "b": "q 1", "c": "q 1", "d": "q 2", "e": "other 0"}
    ((_, requests),) = engine.sampled
    assert [(r.key, r.draws) for r in requests] == [("a", (0, 1, 2)), ("c", (1,)), ("e", (0,))]


def test_a_cut_reply_and_a_prompt_too_long_are_said_to_be_so() -> None:
    def reply(messages: Sequence[Message], draw: int) -> str | None:
        return None if messages[-1]["content"] == "long" else "one two three"

    judge = LocalJudge(ScriptedEngine(reply), "M1", seed=0)
    found = {r.key: r for r in judge.ask([ask("a", "long"), ask("b", max_new_tokens=2)])}
    assert (found["a"].finish, found["a"].text, found["a"].tokens_out) == ("too_long", "", 0)
    assert (found["b"].finish, found["b"].text) == ("length", "one two")


def test_weighed_tokens_come_back_in_openais_form_the_most_probable_first() -> None:
    engine = NotingEngine(m=math.log(0.2), M=math.log(0.7))
    (reply,) = LocalJudge(engine, "M1", seed=0).ask([weigh("a")])
    top = [
        {"token": "M", "logprob": math.log(0.7)},
        {"token": "m", "logprob": math.log(0.2)},
    ]
    assert reply.text == "M"
    assert (reply.finish, reply.tokens_out) == ("stop", 1)
    assert reply.logprobs == {"content": [{**top[0], "top_logprobs": top}]}
    assert engine.calls == []  # nothing is sampled


def test_of_equally_probable_tokens_the_first_is_the_text() -> None:
    engine = NotingEngine(m=-1.0, M=-1.0)
    (reply,) = LocalJudge(engine, "M1", seed=0).ask([weigh("a")])
    assert reply.text == "m"


def test_several_asks_are_scored_by_one_call_on_their_conversations() -> None:
    engine = NotingEngine(m=-1.0, M=-2.0)
    replies = list(LocalJudge(engine, "M1", seed=0).ask([weigh(k, k) for k in "abc"]))
    assert [r.key for r in replies] == ["a", "b", "c"]
    assert engine.scored == [[Continuation(tuple(user(k)), t) for k in "abc" for t in ("m", "M")]]


def test_sampled_and_weighed_asks_can_be_mixed() -> None:
    engine = NotingEngine(m=-1.0, M=-2.0)
    replies = LocalJudge(engine, "M1", seed=0).ask([weigh("a"), ask("b"), weigh("c")])
    assert {r.key: r.text for r in replies} == {"a": "m", "b": "q 0", "c": "m"}


def test_two_asks_under_one_key_are_a_mistake_and_nothing_is_asked() -> None:
    engine = NotingEngine()
    with pytest.raises(ValueError, match="two asks have the key 'a'"):
        list(LocalJudge(engine, "M1", seed=0).ask([ask("a"), ask("a", draw=1)]))
    assert engine.calls == []


def test_nothing_to_ask_calls_nothing() -> None:
    engine = NotingEngine()
    assert list(LocalJudge(engine, "M1", seed=0).ask([])) == []
    assert (engine.sampled, engine.scored) == ([], [])


def test_a_real_engines_weights_are_the_models_own_first_token_probabilities(tiny: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    engine = HFEngine(tiny, EngineSection(device="cpu", dtype="float32"))
    asks = [weigh("a", "The quick brown fox"), weigh("b", "jumps over")]
    replies = list(LocalJudge(engine, "tiny", seed=0).ask(asks))

    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    for one, reply in zip(asks, replies, strict=True):
        text = tokenizer.apply_chat_template(
            list(one.messages), tokenize=False, add_generation_prompt=True
        )
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
        with torch.no_grad():
            expected = torch.log_softmax(model(ids).logits[0, -1], dim=-1)
        assert reply.logprobs is not None
        first = reply.logprobs["content"][0]
        for weight in first["top_logprobs"]:
            (token,) = tokenizer(weight["token"], add_special_tokens=False).input_ids
            assert weight["logprob"] == pytest.approx(float(expected[token]), abs=1e-4)
        assert first["logprob"] == max(w["logprob"] for w in first["top_logprobs"])
        assert reply.text == first["token"]
