"""The judge against a server that nobody here wrote: `transformers serve` on the loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import JudgeFailed
from core.evaluation_config import JudgeBackendSection
from core.records import user
from judges.asking import Ask, settle_failures
from judges.backends.budget import ESTIMATE, FREE, Budget, price_of
from judges.backends.cassette import Cassette
from judges.backends.openai_judge import OpenAIJudge
from judges.backends.recorded import Recorded, Replayed
from tests.servers import TransformersServer, serving

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tiny: Path, tmp_path: Path) -> Iterator[TransformersServer]:
    with TransformersServer(tiny, tmp_path / "serve.log") as started:
        yield started


def judge(model: str, base_url: str, retries: int = 0, concurrency: int = 2) -> OpenAIJudge:
    section = JudgeBackendSection(
        model=model,
        base_url=base_url,
        max_retries=retries,
        timeout_s=60,
        concurrency=concurrency,
    )
    return OpenAIJudge(section, backoff_s=0.05)


def asks(count: int, tokens: int = 12) -> list[Ask]:
    return [Ask(f"k{n}", tuple(user(f"The quick brown fox {n}")), tokens) for n in range(count)]


def free() -> Budget:
    return Budget(FREE, ESTIMATE, limit_usd=0.0)


def test_a_served_model_answers_as_the_protocol_says(tiny: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    with serving(tiny, tmp_path / "serve.log") as base_url:
        served = judge(str(tiny.resolve()), base_url)
        (reply,) = served.ask(asks(1))
        (again,) = served.ask(asks(1))
        assert price_of(served.name, base_url) == FREE
    assert (reply.finish, reply.tokens_out, reply.failure) == ("length", 12, None)
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    prompt = tokenizer.apply_chat_template(
        list(asks(1)[0].messages), add_generation_prompt=True, return_dict=True
    )
    assert reply.tokens_in == len(prompt["input_ids"])
    assert reply.model.startswith(str(tiny.resolve()))
    assert reply.text
    assert again.text == reply.text  # greedy


def test_what_a_killed_server_did_not_answer_is_answered_after_its_restart(
    server: TransformersServer, tmp_path: Path
) -> None:
    wanted = asks(12, tokens=60)
    with Cassette(tmp_path / "c.sqlite") as cassette:
        first = {}
        for reply in Recorded(judge(server.model, server.base_url), cassette, free()).ask(wanted):
            first[reply.key] = reply
            if len(first) == 3:
                server.kill()
        kept = {key: reply for key, reply in first.items() if reply.finish != "failed"}
        lost = [reply for reply in first.values() if reply.finish == "failed"]
        assert 3 <= len(kept) == len(cassette) < 12
        assert len(kept) + len(lost) == 12
        assert all("connection" in str(reply.failure) for reply in lost)
        with pytest.raises(JudgeFailed, match=f"{len(lost)} of 12 judge requests failed"):
            settle_failures(lost, 12, allowed_share=0.0)

        server.start()
        again = Recorded(judge(server.model, server.base_url), cassette, free())
        replies = {reply.key: reply for reply in again.ask(wanted)}
        assert {key: replies[key] for key in kept} == kept
        assert again.budget.replayed.requests == len(kept)
        assert again.budget.spent.requests == len(lost)
        assert {reply.finish for reply in replies.values()} <= {"stop", "length"}

        server.kill()
        replayed = Replayed(cassette, again.identity, again.name)
        assert {reply.key: reply for reply in replayed.ask(wanted)} == replies
