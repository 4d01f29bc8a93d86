from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app, wanted
from benchmarks.workloads import WORKLOADS, measure_of
from core.errors import ConfigError


def test_nothing_named_is_everything_in_the_tables_order() -> None:
    assert wanted("") == [*(workload.name for workload in WORKLOADS), "growth"]


def test_named_workloads_are_measured_once_in_the_tables_order() -> None:
    assert wanted("judge_k3, arc0,judge_k3") == ["arc0", "judge_k3"]


def test_an_unknown_workload_is_named_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no such workload: arc1; there are hellaswag0, arc0"):
        wanted("arc0,arc1")


def test_nothing_is_measured_or_written_for_an_unknown_workload(tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    done = CliRunner().invoke(app, ["--only", "arc1", "--out", str(out)])
    assert isinstance(done.exception, ConfigError)
    assert not out.exists()


def test_the_issues_targets_are_asked() -> None:
    # Issue 5, "Must show", 1 to 3, and 1.5 times the speed of TRL's trainers.
    asked = {workload.name: workload.target for workload in WORKLOADS if workload.target}
    assert asked == {
        "hellaswag0": 1.7, "arc0": 2.5, "mmlu5": 4.0, "arc25": 12.0, "judge_k3": 3.0,
        "judge_k3_vllm": 1.0, "candidates_n4": 2.5, "rouge_dedup": 30.0,
        "dpo_step": 1.5, "dpo_step_bf16": 1.5, "sft_step": 1.5, "sft_step_bf16": 1.5,
    }  # fmt: skip


# The rows of sft_step are packaged.
OUTSIDE = [workload for workload in WORKLOADS if not workload.name.startswith("sft_step")]


@pytest.mark.parametrize("workload", OUTSIDE, ids=[workload.name for workload in OUTSIDE])
def test_a_workload_without_its_data_is_missing_and_says_so(
    workload: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks.machine import Machine

    monkeypatch.setenv("SRLM_SHARED", str(tmp_path))
    machine = Machine("cpu", 2, 2, "2.13", 1.0, 1.0, "")
    row = measure_of(workload)(machine, 1)  # type: ignore[arg-type]
    assert row["missing"] == f"no real data at {tmp_path}; set SRLM_SHARED to its folder"
    assert row["ratio_median"] is None
