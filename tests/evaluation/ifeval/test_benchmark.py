"""IFEval through the suite: answers, items, scores; then report, gate and explorer."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from core.config import load_config
from core.reader import RunReader
from core.stages import Stage, evaluation_ref
from core.store import Store
from evaluation.ifeval.benchmark import BENCHMARK
from evaluation.run import EvalRun
from evaluation.suite import evaluate, raise_failures
from reports.build import build
from reports.gate.gate import GateOptions, run_gate
from reports.scores import read_scores
from tests.loop import SMOKE
from tests.web.explorer.made import reader
from web.explorer.source import Source

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(smoke_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A smoke run with IFEval of two models."""
    out_dir = tmp_path_factory.mktemp("ifeval")
    shutil.copytree(smoke_run, out_dir / "smoke", copy_function=shutil.copy2)
    settings = [
        f"out_dir={out_dir}",
        'evaluation.models=["M0","M1"]',
        'evaluation.benchmarks=["ifeval"]',
        "evaluation.ifeval.data=sample",
        "evaluation.ifeval.limit=4",
        "evaluation.ifeval.max_new_tokens=12",
    ]
    raise_failures(evaluate(load_config(SMOKE, settings)))
    return out_dir / "smoke"


def test_a_response_goes_through_the_chat_template_and_is_kept_with_its_item(run: Path) -> None:
    found = RunReader(run)
    answers = found.rows(evaluation_ref("M1/ifeval", Stage.ANSWERS))
    items = found.rows(evaluation_ref("M1/ifeval", Stage.ITEMS))
    assert [row.prompt_key for row in answers] == [row.key for row in items] == ["1", "2", "3", "4"]
    assert [row.detail["text"] for row in items] == [row.text for row in answers]
    manifest = found.manifest(evaluation_ref("M1/ifeval", Stage.ANSWERS))
    assert manifest.key.config["evaluation.ifeval.max_new_tokens"] == 12


def test_the_report_the_gate_and_the_explorer_show_it(run: Path, tmp_path: Path) -> None:
    build(run, tmp_path / "report")
    page = (tmp_path / "report" / "report.md").read_text()
    assert "IFEval" in page
    written = read_scores(tmp_path / "report" / "scores.json")
    metrics = {m.id: m for m in written.metrics}
    strict = metrics["M1/ifeval/inst_level_strict_acc"]
    assert strict.headline
    assert strict.items is not None
    assert strict.clusters is not None
    gate = run_gate(written, written, GateOptions())
    assert "M1/ifeval/prompt_level_strict_acc" in {one.id for one in gate.checked}
    with Source(run) as source:
        client: TestClient = reader(source)
        assert "/ifeval" in client.get("/").text
        assert client.get("/ifeval").status_code == 200
        item = client.get("/ifeval/item?key=1").text
        assert "punctuation:no_comma" in item


def test_its_prompts_are_items_of_the_contamination_check(run: Path) -> None:
    config = load_config(SMOKE, [f"out_dir={run.parent}", "evaluation.ifeval.data=sample"])
    assert BENCHMARK.texts is not None
    texts = BENCHMARK.texts(EvalRun(config, Store(run)))
    assert len(texts) == 30  # all of them, whatever the limit
