from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from core.stages import project_root
from tools import check_gpu
from tools.check_gpu import Part, Row, run_part, table
from tools.gpu_parts import Report

without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
PATH = [str(project_root())]


@without_gpu
def test_without_a_gpu_it_says_so_in_one_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.check_gpu"],
        cwd=project_root(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("check_gpu: torch sees no CUDA device here; run it on a machine with")


def test_all_parts_together_end_within_eight_minutes() -> None:
    assert sum(part.limit_s for part in check_gpu.PARTS.values()) <= 8 * 60


def test_an_unknown_part_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        check_gpu.main(["--only", "parity,spede"])
    assert ended.value.code == 2
    assert "no part 'spede'; parts are parity, dpo" in capsys.readouterr().err


def test_a_part_without_its_packages_is_skipped_with_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(check_gpu.PARTS, "dpo", Part("DPO", 9, ("torch", "nothing_of_that_name")))
    (row,) = run_part("dpo", "cpu", tmp_path / "dpo", PATH)
    assert (row.found, row.wanted, row.ok) == (
        "not installed: nothing_of_that_name",
        "skipped",
        None,
    )
    # Nothing ran, so nothing was found to be right.
    assert check_gpu.main(["--device", "cpu", "--only", "dpo"]) == 2
    assert "nothing_of_that_name" in capsys.readouterr().out


def test_a_part_that_does_not_end_is_stopped_and_counts_as_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(check_gpu.PARTS, "parity", Part("the engine", 1, ("torch",)))
    (row,) = run_part("parity", "cpu", tmp_path / "parity", PATH)
    assert (row.found.partition(":")[0], row.wanted, row.ok) == ("stopped", "ends in 1 s", False)
    assert check_gpu.main(["--device", "cpu", "--only", "parity"]) == 1
    assert "WRONG" in capsys.readouterr().out


def test_a_part_that_is_stopped_leaves_no_process_behind(tmp_path: Path) -> None:
    mark = tmp_path / "alive"
    child = f"import time, pathlib; time.sleep(3); pathlib.Path({str(mark)!r}).touch()"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    words = [sys.executable, "-c", parent]
    assert check_gpu._run(words, dict(os.environ), tmp_path / "log", 1) == (1, "stopped")
    time.sleep(4)
    assert not mark.exists()


def test_a_part_that_fails_shows_the_end_of_its_output(tmp_path: Path) -> None:
    (row,) = run_part("parity", "no_such_device", tmp_path / "parity", PATH)
    assert row.ok is False
    assert "exit code 1" in row.found and "device" in row.found


def test_numbers_above_what_is_wanted_and_nan_are_wrong(tmp_path: Path) -> None:
    report = Report(tmp_path)
    for found in (0.5, 0.6, float("nan")):
        report.at_most("loss", found, 0.5)
    lines = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [line[-1] for line in lines] == [True, False, False]
    assert lines[1] == ["loss", "0.6", "<= 0.5", False]


def test_the_table_marks_what_is_wrong() -> None:
    text = table([Row("a", "x", "1", "<= 2", True), Row("a", "longer", "3", "<= 2", False)])
    assert text.splitlines() == [
        "part  what    found  wanted",
        "a     x       1      <= 2    ok",
        "a     longer  3      <= 2    WRONG",
    ]


@pytest.mark.slow
@pytest.mark.long
def test_every_part_runs_and_agrees_with_itself_on_a_cpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, part in check_gpu.PARTS.items():  # limits are for a machine with a GPU
        monkeypatch.setitem(check_gpu.PARTS, name, part._replace(limit_s=900))
    assert check_gpu.main(["--device", "cpu"]) == 0
    shown = capsys.readouterr().out
    assert {line.split()[0] for line in shown.splitlines()[1:]} == set(check_gpu.PARTS)
    assert "skipped" not in shown
