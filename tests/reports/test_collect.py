from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from core.errors import DataError, StaleArtifact
from core.reader import RunReader
from core.stages import Stage, evaluation_ref
from core.store import Store
from reports.collect import collect
from reports.scores import Metric, ScoresFile, read_scores, to_json
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def scores(evaluated: Path) -> ScoresFile:
    return collect(RunReader(evaluated / "smoke"))


@pytest.fixture
def copy(evaluated: Path, tmp_path: Path) -> Path:
    shutil.copytree(evaluated / "smoke", tmp_path / "smoke", copy_function=shutil.copy2)
    return tmp_path / "smoke"


def by_id(scores: ScoresFile) -> dict[str, Metric]:
    return {metric.id: metric for metric in scores.metrics}


def test_every_number_with_items_is_their_mean(scores: ScoresFile) -> None:
    checked = set()
    for metric in scores.metrics:
        if metric.items and metric.value is not None:
            mean = sum(metric.items.values()) / len(metric.items)
            assert metric.value == pytest.approx(mean), metric.id
            assert metric.scale is not None
            low, high = metric.scale
            assert all(low <= value <= high for value in metric.items.values()), metric.id
            checked.add(metric.benchmark)
    # A random judge's verdicts may all be unreadable: then head_to_head has no number.
    assert {"alpaca_eval", "nlp", "agreement"} <= checked


def test_what_the_configuration_wants_and_is_not_there_has_a_reason(copy: Path) -> None:
    Store(copy).remove([evaluation_ref("M1/nlp/piqa", Stage.SCORES)])
    (copy / "eval" / "outcomes.json").write_text('{"failed": {"M1/nlp/piqa": "disk on fire"}}')
    found = by_id(collect(RunReader(copy)))
    missing = [metric for name, metric in found.items() if name.startswith("M1/nlp/piqa/")]
    assert [(m.value, m.n, m.reason) for m in missing] == [(None, 0, "failed: disk on fire")]
    # The others are not touched by it.
    assert found["M0/nlp/piqa/acc_norm"].value is not None


def test_a_number_that_is_not_the_mean_of_its_items_is_refused(copy: Path) -> None:
    path = copy / "eval" / "M1" / "nlp" / "piqa" / "items.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines() if line]
    rows[0]["metrics"]["acc"] = 1 - rows[0]["metrics"]["acc"]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    manifest = path.with_suffix("").with_suffix(".manifest.json")
    tree = json.loads(manifest.read_text())
    # Somebody who also mends the manifest still cannot make the number true.
    from core.hashing import sha256_file

    stamp = tree["files"]["items.jsonl"]
    stat = path.stat()
    stamp.update(sha256=sha256_file(path), size=stat.st_size, mtime_ns=stat.st_mtime_ns)
    manifest.write_text(json.dumps(tree))
    with pytest.raises(StaleArtifact, match=r"eval/M1/nlp/piqa/scores: acc is .* items have the"):
        collect(RunReader(copy))


def test_conditions_name_judge_prompts_and_shots_but_not_what_is_compared(
    scores: ScoresFile,
) -> None:
    found = by_id(scores)
    nlp = found["M1/nlp/piqa/acc_norm"].conditions
    assert nlp["shots"] == 0
    assert nlp["evaluation.nlp.limit"] == 2
    assert "file:piqa.validation.jsonl" in nlp
    # Two models of one run are evaluated under the same conditions.
    assert nlp == found["M2/nlp/piqa/acc_norm"].conditions
    alpaca = found["M2/alpaca_eval/win_rate"].conditions
    assert alpaca["judge"] == "M1"
    assert {"judge weights", "reference answers"} <= set(alpaca)
    assert alpaca["evaluation.generation.temperature"] == 0.7
    matchup = found["head_to_head/M2-M1/net"].conditions
    assert matchup["evaluation.head_to_head.limit"] == 4
    assert not [name for name in matchup if name.startswith(("iter", "eval/"))]


def test_a_scores_file_survives_the_way_to_disk_and_back(
    scores: ScoresFile, tmp_path: Path
) -> None:
    path = tmp_path / "scores.json"
    path.write_text(to_json(scores))
    assert read_scores(path) == scores
    assert to_json(read_scores(path)) == to_json(scores)


def test_files_that_are_no_scores_are_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    with pytest.raises(DataError, match=r"No such file.*expected a scores\.json"):
        read_scores(path)
    path.write_text("{")
    with pytest.raises(DataError, match="not valid JSON"):
        read_scores(path)
    path.write_text('{"some": "file"}')
    with pytest.raises(DataError, match="srlm-report build"):
        read_scores(path)
    path.write_text('{"format": "srlm-scores", "version": 2}')
    with pytest.raises(DataError, match="version 2 of the format; this srlm reads version 1"):
        read_scores(path)
    path.write_text('{"format": "srlm-scores", "version": 1, "run": "x", "code_version": "1"}')
    with pytest.raises(DataError, match="metrics: Field required"):
        read_scores(path)


def test_the_published_schema_is_the_one_that_is_read() -> None:
    written = json.loads((ROOT / "docs" / "scores.schema.json").read_text())
    assert written == ScoresFile.model_json_schema()
