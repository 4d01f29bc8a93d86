"""A run judged over HTTP, end to end: nothing lost, nothing asked twice, replayed offline."""

from __future__ import annotations

import json
import shutil
import threading
import time
from base64 import b64encode
from pathlib import Path

import pytest

from core.config import Config, load_config
from core.errors import NotRecorded
from core.stages import Stage, evaluation_ref, model_ref
from core.store import Store
from evaluation.suite import evaluate, raise_failures
from judges.backends.cassette import Cassette
from tests import loop
from tests.servers import (
    BROKEN,
    DROPPED,
    NO_CHOICES,
    TOO_MANY,
    TRUNCATED,
    FakeOpenAI,
    Fault,
    TransformersServer,
)

pytestmark = pytest.mark.slow

KEY = "sk-test-0123456789-never-in-a-file"
ONE_BENCHMARK = ('evaluation.benchmarks=["alpaca_eval"]', 'evaluation.models=["M1"]')
HANGS = Fault(hang_s=3.0)


@pytest.fixture
def out_dir(smoke_run: Path, tmp_path: Path) -> Path:
    """A copy of the smoke run to evaluate."""
    shutil.copytree(smoke_run, tmp_path / "smoke", copy_function=shutil.copy2)
    return tmp_path


def config_in(out_dir: Path, base_url: str, *settings: str) -> Config:
    return load_config(
        loop.SMOKE,
        [
            f"out_dir={out_dir}",
            'evaluation.benchmarks=["head_to_head","alpaca_eval"]',
            'evaluation.models=["M1","M2"]',
            'evaluation.head_to_head.matchups=[["M2","M1"]]',
            'evaluation.head_to_head.prompt="alpaca_eval"',
            'evaluation.alpaca_eval.annotator="alpaca_eval_gpt4"',
            'evaluation.judge.backend="openai"',
            f'evaluation.judge.base_url="{base_url}"',
            "evaluation.judge.concurrency=2",
            "evaluation.judge.timeout_s=1.0",
            "evaluation.judge.max_retries=2",
            "evaluation.alpaca_eval.tags=false",
            *settings,
        ],
    )


def ranks_the_longer_first(messages: list[dict[str, str]]) -> str:
    """A judge of length, whichever of the package's two ways of showing answers is used."""
    text = messages[-1]["content"]
    _, first, second = text.split('"answer": """')
    longer = len(first.split('"""')[0]) >= len(second.split('"""')[0])
    ranks = (1, 2) if longer else (2, 1)
    return (
        f"[{{'model': 'model_1', 'rank': {ranks[0]}}}, {{'model': 'model_2', 'rank': {ranks[1]}}}]"
    )


def numbers(out_dir: Path) -> dict[str, str]:
    """The bytes of every finished artifact."""
    found = sorted((out_dir / "smoke" / "eval").rglob("*.jsonl"))
    finished = [path for path in found if not path.name.endswith(".partial.jsonl")]
    return {str(path.relative_to(out_dir)): path.read_text() for path in finished}


def test_a_judge_that_fails_in_every_way_loses_and_repeats_nothing(
    out_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with FakeOpenAI(ranks_the_longer_first) as calm:
        whole = tmp_path_factory.mktemp("whole")
        shutil.copytree(out_dir / "smoke", whole / "smoke", copy_function=shutil.copy2)
        raise_failures(evaluate(config_in(whole, calm.base_url)))
        expected, wanted = numbers(whole), len(calm.answered)
    faults = [TOO_MANY, BROKEN, HANGS, TRUNCATED, NO_CHOICES, DROPPED]
    with FakeOpenAI(ranks_the_longer_first, faults=faults) as server:
        # One request may meet them all.
        patient = config_in(out_dir, server.base_url, "evaluation.judge.max_retries=6")
        raise_failures(evaluate(patient))
        # Every fault was met once and asked again; nothing that was answered was asked twice. (The
        # request that hung may be answered in the end, to a client that has gone.)
        assert len(server.answered) in (wanted, wanted + 1)
        assert len(server.bodies) == wanted + len(faults)
    assert numbers(out_dir) == expected
    for path in out_dir.rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path


def test_a_key_read_from_a_file_is_in_nothing_that_any_failure_writes(
    out_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Servers and libraries quote the header they were sent; `echo KEY > file` ends in a line break.
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n")
    quoted = f"header b'Bearer {KEY}\\n' or {b64encode(KEY.encode()).decode()} is wrong"
    body = {"error": {"message": quoted}}
    faults = [Fault(raw=quoted.encode()), Fault(raw=json.dumps(body).encode()), DROPPED]
    faults += [Fault(status, body) for status in (400, 401, 403, 404, 500)]
    said = ""
    for fault in faults:
        with FakeOpenAI(ranks_the_longer_first, faults=[fault] * 99) as server:
            settings = [f"out_dir={out_dir}", "evaluation.judge.max_retries=1", *ONE_BENCHMARK]
            settings += [
                "evaluation.judge.backend=openai",
                f"evaluation.judge.base_url={server.base_url}",
            ]
            options = [part for setting in settings for part in ("--set", setting)]
            done = loop.main(
                "evaluation", "run", "--config", loop.SMOKE, "--redo", "stale", *options
            )
            assert done.returncode == 1
            assert server.authorizations == {f"Bearer {KEY}"}
            said += done.stdout + done.stderr
    assert loop.main("reports", "build", "--run", out_dir / "smoke").returncode == 0
    assert "[secret]" in said
    written = [path.read_bytes() for path in out_dir.rglob("*") if path.is_file()]
    assert any(b"[secret]" in text for text in written)
    for text in [said.encode(), *written]:
        assert KEY.encode() not in text
        assert b64encode(KEY.encode()) not in text


def kill_after(server: FakeOpenAI, answers: int) -> threading.Thread:
    """Kill the server once it has given so many answers."""

    def watch() -> None:
        while len(server.answered) < answers:
            time.sleep(0.002)
        server.kill()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def test_a_server_that_dies_midway_leaves_what_it_said_and_the_same_command_goes_on(
    out_dir: Path,
) -> None:
    with FakeOpenAI(ranks_the_longer_first, delay_s=0.05) as server:
        config = config_in(out_dir, server.base_url)
        watcher = kill_after(server, 3)
        outcomes = evaluate(config)
        watcher.join()
        assert any("judge requests failed" in (o.failure or "") for o in outcomes)
        server.start()
        raise_failures(evaluate(config))
        asked = [json.dumps(body["messages"]) for body in server.answered]
        raise_failures(evaluate(config))  # nothing is left to ask
        assert len(server.answered) == len(asked)
    # Requests under way when the server died may have been answered to nobody; no others repeat.
    assert len(asked) - len(set(asked)) <= 2


def test_the_cassette_replays_every_number_offline(out_dir: Path) -> None:
    with FakeOpenAI(ranks_the_longer_first) as server:
        config = config_in(out_dir, server.base_url)
        raise_failures(evaluate(config))
        before = numbers(out_dir)
    # The server is gone. The verdicts are made again from the recording alone.
    offline = config_in(out_dir, server.base_url, "evaluation.judge.replay=true")
    raise_failures(evaluate(offline, redo="head_to_head/M2-M1"))
    raise_failures(evaluate(offline, redo="annotations"))
    assert numbers(out_dir) == before


def test_replaying_what_was_never_asked_says_so(out_dir: Path) -> None:
    with FakeOpenAI(ranks_the_longer_first) as server:
        raise_failures(evaluate(config_in(out_dir, server.base_url)))
    more = config_in(
        out_dir,
        server.base_url,
        "evaluation.judge.replay=true",
        "evaluation.head_to_head.limit=6",
        'evaluation.benchmarks=["head_to_head"]',
    )
    outcomes = evaluate(more, redo="stale")
    (failed,) = [o for o in outcomes if o.failure]
    assert "not recorded" in str(failed.failure)
    assert NotRecorded.exit_code == 2


def test_transformers_serve_judges_a_run_and_its_death_loses_nothing(
    out_dir: Path, tmp_path: Path
) -> None:
    # The served model is the run's own M1: it does not rank, and that is counted, not guessed.
    folder = Store(out_dir / "smoke").model(model_ref(1))
    with TransformersServer(folder, tmp_path / "serve.log") as server:
        settings = (
            f'evaluation.judge.model="{folder.resolve()}"',
            "evaluation.judge.timeout_s=60",
            "evaluation.judge.max_retries=0",
            "evaluation.judge.concurrency=1",
        )
        config = config_in(out_dir, server.base_url, *settings)
        only = config_in(
            out_dir, server.base_url, *settings, 'evaluation.benchmarks=["head_to_head"]'
        )
        raise_failures(evaluate(only))
        server.kill()
        outcomes = evaluate(config)
        failed = {o.job.name for o in outcomes if o.failure}
        assert failed == {"M1 × alpaca_eval", "M2 × alpaca_eval"}
        recorded = numbers(out_dir)
        server.start()
        raise_failures(evaluate(config))
        after = numbers(out_dir)
    assert {name: after[name] for name in recorded} == recorded
    store = Store(out_dir / "smoke")
    verdicts = store.read(evaluation_ref("head_to_head/M2-M1", Stage.VERDICTS))
    asked = [v for v in verdicts if v.key.endswith(("/ab", "/ba"))]
    assert asked and all(v.replies for v in asked)
    assert all(v.winner is not None or v.unparsed for v in verdicts)
    rows = store.read(evaluation_ref("M2/alpaca_eval", Stage.ANNOTATIONS))
    assert len(rows) == 6
    assert all((row.preference is None) == (row.missing is not None) for row in rows)
    # Replayed without the server: the same bytes.
    offline = config_in(out_dir, server.base_url, *settings, "evaluation.judge.replay=true")
    raise_failures(evaluate(offline, redo="annotations"))
    assert numbers(out_dir) == after


def test_the_budget_stops_the_run_cleanly_and_a_larger_one_pays_for_the_rest_only(
    out_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with FakeOpenAI(ranks_the_longer_first) as server:
        # The loopback server is free otherwise: a dollar per million tokens.
        spare = (*ONE_BENCHMARK, "evaluation.judge.price_usd=[1.0, 1.0]")
        # A request may cost 0.00044 and does cost about half: the second no longer fits.
        poor = config_in(out_dir, server.base_url, *spare, "evaluation.judge.budget_usd=0.0006")
        (outcome,) = evaluate(poor)
        assert "budget_usd = 0.0006; the next request may cost" in str(outcome.failure)
        assert 0 < len(server.answered) < 6
        rich = config_in(out_dir, server.base_url, *spare, "evaluation.judge.budget_usd=1")
        raise_failures(evaluate(rich))
        assert len(server.answered) == 6
    rows = Store(out_dir / "smoke").read(evaluation_ref("M1/alpaca_eval", Stage.ANNOTATIONS))
    assert len(rows) == 6


def test_what_is_recorded_is_the_request_and_the_words(out_dir: Path, tmp_path: Path) -> None:
    with FakeOpenAI(ranks_the_longer_first) as server:
        raise_failures(evaluate(config_in(out_dir, server.base_url)))
    with Cassette(out_dir / "smoke" / "eval" / "cassette.sqlite", read_only=True) as cassette:
        count = cassette.export(tmp_path / "out.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(rows) == count > 0
    assert all("model_1" in row["reply"]["text"] for row in rows)
    assert all(row["request"]["messages"] for row in rows)
