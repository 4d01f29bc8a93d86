from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from core.config import EngineSection
from core.errors import ModelError
from core.hashing import model_files, sha256_file, sha256_json
from core.records import user
from engines.engine import Continuation, Decoding, Request, Sampled
from engines.remote.openai_api import OpenAIEngine
from tests.completions_server import CompletionsServer
from tests.servers import BROKEN, NO_CHOICES, TOO_MANY, Fault

DECODING = Decoding(temperature=1.0, top_p=0.9, max_new_tokens=5, seed=3)
GREEDY = Decoding(temperature=0.0, top_p=1.0, max_new_tokens=5, seed=3)


def asked(prompts: int, draws: tuple[int, ...] = (0,)) -> list[Request]:
    return [Request(f"p{i}", user(f"fox {i}"), draws) for i in range(prompts)]


def opened(folder: Path, *servers: CompletionsServer, **settings: Any) -> OpenAIEngine:
    urls = tuple(server.base_url for server in servers)
    given = {"kind": "openai", "base_urls": urls, "max_retries": 0, **settings}
    return OpenAIEngine(folder, EngineSection(**given), weights_sha256="0123456789abcdef")


def by_key(rows: list[Sampled]) -> dict[tuple[str, int], Sampled]:
    assert len({(row.key, row.draw) for row in rows}) == len(rows)
    return {(row.key, row.draw): row for row in rows}


def test_a_server_of_another_model_is_refused_with_the_command_for_the_right_one(
    tiny: Path, tmp_path: Path
) -> None:
    with CompletionsServer(tiny, name="M1", root=tmp_path) as server:
        with pytest.raises(ModelError, match=r"serves M1, not .*vllm serve /.*--port N;") as error:
            opened(tiny, server)
        assert str(tiny.resolve()) in str(error.value)


def test_a_server_is_known_by_its_root_or_by_its_name(tiny: Path, tmp_path: Path) -> None:
    with CompletionsServer(tiny, name="M1") as server:
        list(opened(tiny, server).sample(asked(1), GREEDY))
        assert server.bodies[0]["model"] == "M1"
    with CompletionsServer(tiny, root=tmp_path) as server:  # the name is the folder
        assert list(opened(tiny, server).sample(asked(1), GREEDY))


def test_a_name_that_holds_the_weights_hash_needs_no_shared_folder(
    tiny: Path, tmp_path: Path
) -> None:
    with CompletionsServer(tiny, name="srlm-0123456789ab", root=tmp_path) as server:
        engine = opened(tiny, server, served_model="srlm-{weights}")
        assert list(engine.sample(asked(1), GREEDY))
    # The right folder under the name of other weights is another model.
    remedy = pytest.raises(ModelError, match="--served-model-name srlm-0123456789ab")
    with CompletionsServer(tiny, name="srlm-000000000000") as server, remedy:
        opened(tiny, server, served_model="srlm-{weights}")


def test_without_a_manifest_the_folder_itself_is_hashed(tiny: Path) -> None:
    with CompletionsServer(tiny) as server:
        section = EngineSection(kind="openai", base_urls=(server.base_url,))
        found = OpenAIEngine(tiny, section).fingerprint
    digest = sha256_json([sha256_file(path) for path in model_files(tiny)])
    assert found == f"openai/test 0.0.1/bfloat16/{digest}"


def test_servers_that_are_not_alike_are_refused(tiny: Path) -> None:
    refused = pytest.raises(ModelError, match=r"not alike: .*test 0\.0\.1; .*test 0\.0\.2")
    with CompletionsServer(tiny) as one, CompletionsServer(tiny, version="0.0.2") as two, refused:
        opened(tiny, one, two)


def test_a_servers_smaller_window_counts(tiny: Path) -> None:
    with CompletionsServer(tiny, window=64) as server:
        (row,) = opened(tiny, server).sample([Request("p", "fox " * 70)], GREEDY)
    assert row == Sampled("p", 0, "", 0, "too_long")


def test_the_request_says_everything_that_decides_a_draw(tiny: Path) -> None:
    # The server's own defaults (generation_config.json) would change what is sampled.
    decoding = Decoding(0.7, 0.9, 5, seed=3, stop=("x",))
    with CompletionsServer(tiny) as server:
        list(opened(tiny, server).sample(asked(1, (0, 1)), decoding))
        one, two = server.bodies
    said = {"temperature": 0.7, "top_p": 0.9, "max_tokens": 5, "stop": ["x"]}
    neutral = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
    assert {name: one[name] for name in said | neutral} == said | neutral
    assert one["prompt"] == two["prompt"]
    assert one["seed"] != two["seed"]
    assert all(0 <= body["seed"] < 2**63 for body in (one, two))  # what vLLM accepts


def test_several_servers_share_the_work_and_give_what_one_gives(tiny: Path) -> None:
    with CompletionsServer(tiny) as one:
        alone = by_key(list(opened(tiny, one).sample(asked(6, (0, 1)), DECODING)))
    with CompletionsServer(tiny) as one, CompletionsServer(tiny) as two:
        shared = by_key(list(opened(tiny, one, two).sample(asked(6, (0, 1)), DECODING)))
        assert shared == alone
        # Three prompts each, and both draws of a prompt at the same place, for its prefix cache.
        for server in (one, two):
            prompts = Counter(tuple(body["prompt"]) for body in server.bodies)
            assert sorted(prompts.values()) == [2, 2, 2]


def test_a_server_that_is_done_takes_over_what_another_has_not_begun(tiny: Path) -> None:
    with CompletionsServer(tiny) as fast, CompletionsServer(tiny, delay_s=1.0) as slow:
        engine = opened(tiny, fast, slow, concurrency=1)
        assert len(by_key(list(engine.sample(asked(8), GREEDY)))) == 8
        assert len(fast.bodies) > 4 > len(slow.bodies)


def test_no_more_requests_than_configured_are_under_way(tiny: Path) -> None:
    with CompletionsServer(tiny, delay_s=0.05) as server:
        list(opened(tiny, server, concurrency=3).sample(asked(9), GREEDY))
        assert server.peak == 3


def test_the_work_of_a_lost_server_is_done_by_the_others(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with CompletionsServer(tiny) as one, CompletionsServer(tiny, fault_for=lambda _: BROKEN) as two:
        rows = by_key(list(opened(tiny, one, two).sample(asked(8), GREEDY)))
    assert len(rows) == 8
    assert len(one.answered) == 8
    assert "1 of 2 servers remain" in capsys.readouterr().err


def test_when_no_server_is_left_the_run_stops_and_says_how_to_go_on(tiny: Path) -> None:
    with CompletionsServer(tiny, faults=[None, None, BROKEN]) as server:
        call = opened(tiny, server, concurrency=1).sample(asked(8), GREEDY)
        rows: list[Sampled] = []
        with pytest.raises(ModelError, match=r"HTTP 500: .*again: finished rows are kept"):
            rows.extend(call)
    # extend keeps what came before the error.
    assert len(rows) == 2


def test_what_passes_is_tried_again(tiny: Path) -> None:
    soon = Fault(429, TOO_MANY.body, {"retry-after-ms": "20"})
    with CompletionsServer(tiny, faults=[soon, Fault(503, {}, {"retry-after-ms": "20"})]) as server:
        assert len(list(opened(tiny, server, max_retries=2).sample(asked(1), GREEDY))) == 1
        assert len(server.bodies) == 3


def test_text_before_an_error_is_tried_again(tiny: Path) -> None:
    partial = {
        "choices": [{"text": "The", "finish_reason": "error"}],
        "usage": {"completion_tokens": 1},
    }
    with CompletionsServer(tiny, faults=[Fault(raw=json.dumps(partial).encode())]) as server:
        (found,) = opened(tiny, server, max_retries=1).sample(asked(1), GREEDY)
        assert len(server.bodies) == 2
    assert found.finish in ("stop", "length")


def test_a_refused_request_is_not_tried_again(tiny: Path) -> None:
    refused = Fault(400, {"error": {"message": "seed must be small"}})
    with CompletionsServer(tiny, faults=[refused]) as server:
        with pytest.raises(ModelError, match=r"HTTP 400: .*seed must be small"):
            list(opened(tiny, server, max_retries=5, concurrency=1).sample(asked(3), GREEDY))
        assert len(server.bodies) == 1


def test_a_reply_of_another_protocol_is_an_error(tiny: Path) -> None:
    refused = pytest.raises(ModelError, match="not a completion in the OpenAI protocol")
    with CompletionsServer(tiny, faults=[NO_CHOICES]) as server, refused:
        list(opened(tiny, server).sample(asked(1), GREEDY))


def test_a_server_that_is_not_there_is_named(tiny: Path) -> None:
    with CompletionsServer(tiny) as server:
        url = server.base_url
    section = EngineSection(kind="openai", base_urls=(url,), max_retries=0)
    with pytest.raises(ModelError, match=rf"{url}: .*refused"):
        OpenAIEngine(tiny, section)


def test_the_key_is_sent_and_never_shown(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "sk-hidden")
    echo = Fault(401, {"error": {"message": "bad key sk-hidden"}})
    with CompletionsServer(tiny, faults=[echo]) as server:
        engine = opened(tiny, server)
        with pytest.raises(ModelError, match=r"\[secret\].*VLLM_API_KEY is missing") as error:
            list(engine.sample(asked(1), GREEDY))
        assert server.authorizations == {"Bearer sk-hidden", ""}  # /version needs none
    assert "sk-hidden" not in str(error.value) + engine.fingerprint


def test_a_call_that_is_given_up_asks_no_more(tiny: Path) -> None:
    with CompletionsServer(tiny, delay_s=0.5) as server:
        call = opened(tiny, server, concurrency=2).sample(asked(20), GREEDY)
        next(iter(call))
        call.close()  # type: ignore[attr-defined]
        time.sleep(0.2)  # what was on its way arrives
        seen = len(server.bodies)
        time.sleep(0.7)  # longer than an answer takes: whoever went on would ask again
        assert len(server.bodies) == seen <= 5


def test_a_server_without_token_ids_is_read_by_its_text(tiny: Path) -> None:
    decoding = Decoding(1.0, 0.9, 8, seed=3, stop=("e", "o"))
    with CompletionsServer(tiny) as server:
        expected = by_key(list(opened(tiny, server).sample(asked(6), decoding)))
    with CompletionsServer(tiny, plain=True) as server:
        assert by_key(list(opened(tiny, server).sample(asked(6), decoding))) == expected


def test_a_server_without_prompt_logprobs_samples_but_does_not_score(tiny: Path) -> None:
    with CompletionsServer(tiny, plain=True) as server:
        engine = opened(tiny, server)
        with pytest.raises(ModelError, match=r"no prompt_logprobs, which scoring needs"):
            engine.score([Continuation("The", " fox")])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "openai"}, "needs either base_urls or serve_command"),
        ({"kind": "vllm", "base_urls": ("http://h/v1",)}, "base_urls set, but kind is 'vllm'"),
        ({"kind": "openai", "base_urls": ("h:8000",)}, "begins with http"),
        ({"kind": "openai", "base_urls": ("http://me:secret@h/v1",)}, "holds no password"),
        ({"kind": "openai", "serve_command": "vllm serve {model}"}, r"\{model\} and \{port\}"),
        (
            {"kind": "openai", "base_urls": ("http://h/v1",), "served_model": "llama"},
            r"served_model must say where \{weights\} goes",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EngineSection(**settings)
