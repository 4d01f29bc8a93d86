"""The whole report of an evaluated smoke run, by the command that people call."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from core.stages import Ref, Stage
from core.store import Store
from reports.scores import read_scores
from tests import loop
from tests.conftest import ROOT


def report(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return loop.main("reports", *arguments)


@pytest.fixture
def copy(evaluated: Path, tmp_path: Path) -> Path:
    shutil.copytree(evaluated / "smoke", tmp_path / "smoke", copy_function=shutil.copy2)
    return tmp_path / "smoke"


@pytest.fixture(scope="module")
def built(evaluated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report")
    done = report("build", "--run", evaluated / "smoke", "--out", out)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"Report: {out / 'report.html'}\n"
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_every_format_is_there(built: Path) -> None:
    files = contents(built)
    assert {"report.html", "report.md", "scores.json", "latex/report.tex"} <= set(files)
    for key in ("alpaca_eval", "mt_bench", "nlp", "alignment_tax", "head_to_head"):
        assert f"tables/{key}.csv" in files
    assert "latex/nlp.tex" in files  # a table without any number has no file of its own
    drawn = {name[:-4] for name in files if name.startswith("figures/")}
    assert drawn
    assert all({f"{name}.svg", f"{name}.pdf"} <= set(files) for name in drawn)
    assert all(
        content.startswith(b"%PDF-") for name, content in files.items() if name.endswith(".pdf")
    )
    assert read_scores(built / "scores.json").run == "smoke"


def test_the_same_artifacts_give_the_same_bytes(built: Path, copy: Path, tmp_path: Path) -> None:
    # Another place, another process with another hash seed: nothing of it may show.
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "reports",
            "build",
            "--run",
            str(copy),
            "--out",
            str(tmp_path / "o"),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "77", "TZ": "Asia/Tokyo"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "o") == contents(built)


def test_a_changed_weight_byte_makes_it_refuse_and_name_the_artifact(
    copy: Path, tmp_path: Path
) -> None:
    weights = Store(copy).paths.artifact(Ref(1, Stage.MODEL)) / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    done = report("build", "--run", copy, "--out", tmp_path / "o")
    assert done.returncode == 2
    assert done.stderr.startswith("error: iter1/model was altered")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "o").exists()


def test_another_judge_in_config_json_is_refused_and_without_the_file_nothing_is_misattributed(
    built: Path, copy: Path, tmp_path: Path
) -> None:
    config = copy / "config.json"
    told = json.loads(config.read_text())
    told["evaluation"]["judge"] |= {"backend": "openai", "model": "gpt-4.1"}
    config.write_text(json.dumps(told))
    done = report("build", "--run", copy, "--out", tmp_path / "o")
    assert done.returncode == 2
    assert 'evaluation.judge.backend is "openai" there' in done.stderr
    assert not (tmp_path / "o").exists()

    config.unlink()
    done = report("build", "--run", copy, "--out", tmp_path / "o")
    assert done.returncode == 0, done.stderr
    text, before = ((out / "report.md").read_text() for out in (tmp_path / "o", built))
    assert "imported" not in text
    for line in (line for line in before.splitlines() if "Not comparable" in line):
        assert line in text
    for words in ("graded by this run's M1", "Sample data: ", "judge: this run's M1"):
        assert words in before
        assert words in text
    assert "GPT-4 0613" not in text.partition("What the paper reports")[0]


def test_a_benchmark_that_failed_is_missing_with_its_reason(copy: Path, tmp_path: Path) -> None:
    store = Store(copy)
    from core.stages import evaluation_ref

    store.remove([evaluation_ref("M1/mt_bench", stage) for stage in (
        Stage.SCORES, Stage.TURN_JUDGMENTS)])  # fmt: skip
    (copy / "eval" / "outcomes.json").write_text('{"failed": {"M1/mt_bench": "429 for an hour"}}')
    done = report("build", "--run", copy, "--out", tmp_path / "o")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "o" / "report.md").read_text()
    assert "Failed: M1/mt\\_bench (429 for an hour)" in text
    metrics = read_scores(tmp_path / "o" / "scores.json").metrics
    (metric,) = [m for m in metrics if m.subject == "M1" and m.benchmark == "mt_bench"]
    assert (metric.value, metric.reason) == (None, "failed: 429 for an hour")


def test_two_runs_are_compared_and_a_run_equals_itself(built: Path, evaluated: Path) -> None:
    done = report("compare", evaluated / "smoke", built / "scores.json")
    assert done.returncode == 0, done.stderr
    assert "smoke (2) − smoke" in done.stdout
    row = next(line for line in done.stdout.splitlines() if "M1/nlp/piqa/acc" in line)
    # Tango's interval without a discordant item: ± z²/(n + z²) = 3.8415/5.8415.
    assert "| 0.00 [−65.76, 65.76] (n=2) | 1.0000 (n=2) |" in row


def test_a_run_passes_the_gate_against_itself(built: Path, tmp_path: Path) -> None:
    scores, junit = built / "scores.json", tmp_path / "gate.xml"
    done = report("gate", "--baseline", scores, "--candidate", scores, "--junit", junit)
    assert done.returncode == 0, done.stdout + done.stderr
    assert junit.read_text().startswith("<?xml")


def test_a_real_drop_fails_the_gate_and_another_judge_cannot_be_compared(
    built: Path, tmp_path: Path
) -> None:
    tree = json.loads((built / "scores.json").read_text())
    changed = next(m for m in tree["metrics"] if m["id"] == "M0/alpaca_eval/win_rate")
    changed["items"] = {f"p{n}": 0.0 for n in range(50)}
    changed["value"], changed["n"] = 0.0, 50
    better = json.loads(json.dumps(tree))
    for metric in better["metrics"]:
        if metric["id"] == changed["id"]:
            metric["items"] = {f"p{n}": 100.0 for n in range(50)}
            metric["value"] = 100.0
    worse, before = tmp_path / "worse.json", tmp_path / "before.json"
    worse.write_text(json.dumps(tree))
    before.write_text(json.dumps(better))
    done = report("gate", "--baseline", before, "--candidate", worse)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "M0/alpaca_eval/win_rate" in done.stdout
    changed["conditions"]["judge"] = "gpt-4"
    worse.write_text(json.dumps(tree))
    done = report("gate", "--baseline", before, "--candidate", worse)
    assert done.returncode == 2
    assert "judge" in done.stdout + done.stderr


def test_recorded_files_are_reported_beside_their_published_numbers(
    shared: Path, tmp_path: Path
) -> None:
    data, run = shared / "data", tmp_path / "recorded"
    names = ("alpaca-7b", "humpback-llama2-70b", "claude-2", "text_davinci_001")
    files = [data / "alpaca_eval" / f"{name}.annotations.json.gz" for name in names]
    judged = data / "mt_bench" / "gpt-4_single.gemini-1.5-flash.jsonl"
    options = [f"--annotations={file}" for file in files]
    imported = loop.main("evaluation", "import", f"--to={run}", *options, f"--judgments={judged}")
    assert imported.returncode == 0, imported.stderr
    done = report("build", "--run", run)
    assert done.returncode == 0, done.stderr
    text = (run / "report" / "report.md").read_text()
    for value in ("2.59", "10.12", "17.19", "2.76", "8.77"):
        assert any(
            f" {value} [" in line and f"published: {value} (" in line for line in text.splitlines()
        ), value


def test_wrong_use_ends_with_a_line_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "empty" / "iter0").mkdir(parents=True)
    for arguments in (
        ("build", "--run", tmp_path / "nowhere"),
        ("build",),
        ("build", "--run", tmp_path / "empty"),
        ("compare", tmp_path),
        ("gate", "--baseline", tmp_path / "no.json", "--candidate", tmp_path / "no.json"),
    ):
        done = report(*arguments)
        assert done.returncode == 2, arguments
        assert done.stderr.startswith("error: ")
        assert "Traceback" not in done.stderr
