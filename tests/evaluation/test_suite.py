from __future__ import annotations

from pathlib import Path

import pytest

from core.benchmarks import Subject
from core.errors import BudgetSpent, DataError, EvaluationFailed, StorageError
from core.records import Score
from core.store import read_failures
from evaluation.suite import Job, Outcome, line, raise_failures, run_jobs, shown

WIN = Score("win", 62.5, 256, 3, low=56.4, high=68.2)


def job(name: str, run: object) -> Job:
    def call() -> list[Score]:
        if isinstance(run, Exception):
            raise run
        return [WIN]

    return Job(Subject("mt_bench", (name,)), call, ("win",))


def test_a_failed_benchmark_does_not_lose_the_others(tmp_path: Path) -> None:
    jobs = [job("M1", 1), job("M2", DataError("p.jsonl", 3, "no text")), job("M3", 1)]
    outcomes = run_jobs(jobs, tmp_path / "errors.log", tmp_path / "outcomes.json")
    assert [o.failure for o in outcomes] == [None, "p.jsonl:3: no text", None]
    assert [list(o.scores) for o in outcomes] == [[WIN], [], [WIN]]


def test_a_surprise_is_a_failure_too_and_its_traceback_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "eval" / "errors.log"
    jobs = [job("M1", ZeroDivisionError("by zero")), job("M2", 1)]
    outcomes = run_jobs(jobs, log, tmp_path / "outcomes.json")
    assert outcomes[0].failure == f"ZeroDivisionError: by zero (traceback in {log})"
    assert "raise run" in log.read_text()
    assert outcomes[1].failure is None


def test_the_command_ends_with_a_summary_that_names_each_failure(tmp_path: Path) -> None:
    jobs = [job("M1", 1), job("M2", DataError("a", 1, "bad")), job("M3", BudgetSpent("spent"))]
    with pytest.raises(EvaluationFailed) as caught:
        raise_failures(run_jobs(jobs, tmp_path / "errors.log", tmp_path / "outcomes.json"))
    assert caught.value.exit_code == 1
    assert str(caught.value).startswith("2 of 3 benchmarks failed")
    assert "M2 × mt_bench: a:1: bad" in str(caught.value)
    assert "M3 × mt_bench: spent" in str(caught.value)


def test_without_failures_nothing_is_raised(tmp_path: Path) -> None:
    raise_failures(run_jobs([job("M1", 1)], tmp_path / "errors.log", tmp_path / "outcomes.json"))


def test_a_full_disk_stops_at_once(tmp_path: Path) -> None:
    later: list[str] = []
    jobs = [
        job("M1", StorageError("disk full")),
        Job(Subject("nlp", ("M2",)), lambda: later.append("ran") or [], ("x",)),  # type: ignore[func-returns-value]
    ]
    with pytest.raises(StorageError):
        run_jobs(jobs, tmp_path / "errors.log", tmp_path / "outcomes.json")
    assert later == []


def test_a_line_says_value_interval_n_and_what_is_missing() -> None:
    assert shown(WIN) == "62.50 [56.40, 68.20] (n=256, 3 missing)"
    assert shown(Score("win", 62.5, 256)) == "62.50 (n=256)"


def test_a_number_that_does_not_exist_is_shown_as_missing_with_its_reason() -> None:
    score = Score("win", None, 0, 40, reason="no verdict could be read")
    assert shown(score) == "– (no verdict could be read; 40 missing)"


def test_a_failure_stays_on_one_line() -> None:
    outcome = Outcome(job("M1", 1), (), 1.0, "first\nsecond")
    assert line(outcome) == "M1 × mt_bench: FAILED: first second"


def test_why_a_benchmark_failed_is_kept_until_it_succeeds(tmp_path: Path) -> None:
    log, record = tmp_path / "errors.log", tmp_path / "eval" / "outcomes.json"
    assert read_failures(record) == {}
    run_jobs([job("M1", 1), job("M2", DataError("a", 1, "bad\nline"))], log, record)
    assert read_failures(record) == {"M2/mt_bench": "a:1: bad line"}
    run_jobs([job("M3", BudgetSpent("spent"))], log, record)  # a later call with other jobs
    run_jobs([job("M2", 1)], log, record)
    assert read_failures(record) == {"M3/mt_bench": "spent"}
