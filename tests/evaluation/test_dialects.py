"""A run judged by servers that speak as the services do: each benchmark completes with each."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from core.stages import Stage, evaluation_ref
from core.store import Store
from tests import loop
from tests.conftest import ROOT
from tests.dialects import DIALECTS, Dialect, DialectServer

pytestmark = pytest.mark.slow

CONCURRENCY = 2
JUDGED = {
    "M1/alpaca_eval": Stage.ANNOTATIONS,
    "M1/mt_bench": Stage.TURN_JUDGMENTS,
    "head_to_head/M2-M1": Stage.VERDICTS,
    "self_judge/iter2": Stage.EXTERNAL_JUDGMENTS,
    "tags/alpaca_eval": Stage.TAGS,
}


def command(out_dir: Path, server: DialectServer, dialect: Dialect) -> list[str]:
    """The suite of the smoke run, judged by the server instead of M1."""
    words = ("alpaca_eval", "alpaca_eval_gpt4")
    tokens = ("first_token", "weighted_alpaca_eval_gpt4_turbo")
    prompt, annotator = tokens if dialect.weighs else words
    settings = [
        f"out_dir={out_dir}",
        *loop.SMALL_EVALUATION,
        "evaluation.judge.backend=openai",
        "evaluation.judge.model=alias-of-the-judge",
        f"evaluation.judge.base_url={server.base_url}",
        f"evaluation.judge.concurrency={CONCURRENCY}",
        f"evaluation.head_to_head.prompt={prompt}",
        f"evaluation.alpaca_eval.annotator={annotator}",
        *([f"evaluation.judge.min_reply_tokens={dialect.thinks}"] if dialect.thinks else []),
    ]
    options = [part for setting in settings for part in ("--set", setting)]
    return ["run", "--config", str(loop.SMOKE), "--redo", "stale", *options]


def killed(arguments: list[str], server: DialectServer, answers: int) -> None:
    """Start the command and kill -9 it once the server has given so many answers."""
    with subprocess.Popen(
        [sys.executable, "-m", "evaluation", *arguments],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        while len(server.answered) < answers and process.poll() is None:
            time.sleep(0.001)
        process.kill()


_IN_CI = ("openai", "gemini")
_NAMES = [
    name if name in _IN_CI else pytest.param(name, marks=pytest.mark.long) for name in DIALECTS
]


@pytest.mark.parametrize("name", _NAMES)
def test_every_benchmark_completes_and_nothing_is_asked_twice_after_a_kill(
    evaluated: Path, tmp_path: Path, name: str
) -> None:
    dialect = DIALECTS[name]
    shutil.copytree(evaluated, tmp_path / "out", copy_function=shutil.copy2)
    with DialectServer(dialect) as server:
        arguments = command(tmp_path / "out", server, dialect)
        killed(arguments, server, 20)
        done = loop.main("evaluation", *arguments)
        assert done.returncode == 0, done.stderr
        again = len(server.bodies)
        assert loop.main("evaluation", *arguments).returncode == 0
        assert len(server.bodies) == again
    asked = Counter(
        json.dumps([body["messages"], "temperature" in body and body["temperature"]])
        for body in server.answered
    )
    # What was under way at the kill may have been answered to nobody.
    assert sum(asked.values()) - len(asked) <= CONCURRENCY
    store = Store(tmp_path / "out" / "smoke")
    adapted: dict[str, Any] = {}
    for address, stage in JUDGED.items():
        facts = store.manifest(evaluation_ref(address, stage)).facts
        assert facts["judge"] == "alias-of-the-judge"
        assert set(facts["answered_by"]) <= {dialect.model, "alias-of-the-judge"}
        adapted |= facts.get("adapted", {})
    assert adapted == dialect.adapted
    assert loop.main("reports", "build", "--run", store.paths.root).returncode == 0
    # Without Markdown's escapes: "max\\_tokens".
    report = (store.paths.root / "report" / "report.md").read_text().replace("\\", "")
    assert dialect.model in report
    for parameter, instead in dialect.adapted.items():
        assert f"{parameter} ({instead})" in report
    assert unread(store) == 1


def unread(store: Store) -> int:
    """Count the rows of all judged artifacts that a filter left without a verdict."""
    rows = [
        row
        for address, ref in store.artifacts().items()
        if ref.address and ref.stage in JUDGED.values()
        for row in store.read(ref)
        if "agreement" not in address
    ]
    reasons = [getattr(row, "unparsed", None) or getattr(row, "missing", None) for row in rows]
    return sum(reason in ("refused", "prompt_too_long", "too_long") for reason in reasons)
