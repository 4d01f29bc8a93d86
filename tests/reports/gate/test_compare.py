from __future__ import annotations

import pytest

from reports.document import Cell, Table
from reports.gate.compare import compare_runs, differing
from reports.scores import Metric, ScoresFile


def metric(
    items: dict[str, float] | None,
    *,
    name: str = "M1/nlp/piqa/acc_norm",
    value: float | None = None,
    judge: str = "gpt-4",
    reason: str | None = None,
) -> Metric:
    if items:
        value = sum(items.values()) / len(items)
    return Metric(
        id=name,
        benchmark="nlp",
        subject="M1",
        part="piqa",
        metric="acc_norm",
        unit="percent",
        better="higher",
        headline=True,
        value=value,
        n=len(items or {}),
        reason=reason,
        conditions={"judge": judge},
        scale=(0.0, 100.0),
        items=items,
    )


def run(name: str, *metrics: Metric) -> ScoresFile:
    return ScoresFile(run=name, code_version="1", metrics=list(metrics))


def cells(*runs: ScoresFile) -> tuple[Table, tuple[Cell, ...]]:
    (table,) = compare_runs(runs).tables
    return table, table.rows[0].cells


def test_a_difference_is_paired_by_item_and_counts_items_that_one_run_lacks() -> None:
    a = metric({f"i{n}": 100.0 for n in range(4)} | {"i9": 0.0})
    b = metric({f"i{n}": 0.0 if n < 2 else 100.0 for n in range(4)})
    table, found = cells(run("a", a), run("b", b))
    assert table.columns == ("a", "b", "b − a", "p")
    assert [cell.value for cell in found[:2]] == [80.0, 50.0]
    # On the four shared items: 50 − 100 = −50; the fifth is only in one of the runs.
    assert (found[2].value, found[2].n, found[2].missing) == (-50.0, 4, 1)
    # Two items moved, both down: 2 of 4 sign patterns are as extreme, p = 0.5.
    assert found[3].value == 0.5


def test_a_run_against_itself_does_not_differ() -> None:
    one = metric({"i0": 100.0, "i1": 0.0})
    table, found = cells(run("same", one), run("same", one))
    assert table.columns[1:3] == ("same (2)", "same (2) − same")
    assert (found[2].value, found[3].value) == (0.0, 1.0)


def test_values_under_other_conditions_are_not_subtracted() -> None:
    _, found = cells(run("a", metric({"i": 1.0})), run("b", metric({"i": 1.0}, judge="M1")))
    assert found[2].value is None
    assert found[2].reason == "not comparable: judge was gpt-4, is M1"


def test_a_condition_that_only_one_run_has_differs() -> None:
    a, b = metric({"i": 1.0}), metric({"i": 1.0})
    b.conditions["shots"] = 5
    assert differing(a, b) == ["shots was absent, is 5"]
    assert differing(b, b) == []


def test_a_missing_number_keeps_its_reason_and_has_no_difference() -> None:
    absent = metric(None, reason="failed: out of memory")
    _, found = cells(run("a", metric({"i": 1.0})), run("b", absent))
    assert found[1].reason == "failed: out of memory"
    assert found[2].reason == "one of the two has no value"


def test_metrics_of_one_run_alone_are_shown_too() -> None:
    other = metric({"i": 1.0}, name="M1/nlp/nq_open/exact_match")
    (table,) = compare_runs([run("a", metric({"i": 1.0})), run("b", other)]).tables
    assert [row.label for row in table.rows] == [
        "M1/nlp/piqa/acc_norm", "M1/nlp/nq_open/exact_match",
    ]  # fmt: skip
    assert table.rows[0].cells[1].reason == "this run has no such metric"


def test_one_run_is_no_comparison() -> None:
    with pytest.raises(ValueError, match="two or more"):
        compare_runs([run("a", metric({"i": 1.0}))])
