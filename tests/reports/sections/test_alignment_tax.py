from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.reader import RunReader
from core.records import Score
from reports.document import Published, Table
from reports.sections.nlp import alignment_tax
from tests.reports.runs import RunBuilder


def wanting(*tasks: str, models: tuple[str, ...] = ("M0", "M1")) -> dict[str, Any]:
    return {"benchmarks": ["nlp"], "models": list(models), "nlp": {"tasks": list(tasks)}}


def measured(run: RunBuilder, model: str, task: str, values: dict[str, float]) -> None:
    """Items, and the score that marks which of their metrics is the paper's."""
    address = f"{model}/nlp/{task}"
    run.items(address, values)
    mean = 100 * sum(values.values()) / max(len(values), 1)
    run.scores(address, Score("acc", mean, len(values), detail={"headline": True}))


def made(results: RunReader) -> Table:
    found = alignment_tax.table(results)
    assert found is not None
    return found


def test_the_difference_is_over_the_items_both_have_with_interval_and_p(tmp_path: Path) -> None:
    # On the 8 shared items M0 has all right and M1 two: −75 points. 6 discordant items, all M0's:
    # McNemar's exact p is 2 · (1/2)^6 = 0.03125. One item more on each side is missing.
    run = RunBuilder(tmp_path).config(evaluation=wanting("piqa"))
    measured(run, "M0", "piqa", {**{f"piqa/{k}": 1.0 for k in range(8)}, "piqa/only0": 0.0})
    mine = {f"piqa/{k}": float(k < 2) for k in range(8)}
    measured(run, "M1", "piqa", {**mine, "piqa/only1": 1.0})
    table = made(run.open())
    (difference,), (p,) = table.rows[0].cells, table.rows[1].cells

    assert [row.label for row in table.rows] == ["M1 − M0", "M1 − M0: p"]
    assert (difference.value, difference.n, difference.missing) == (-75.0, 8, 2)
    assert difference.low is not None and difference.high is not None
    assert difference.low < -75.0 < difference.high <= 0.0
    assert difference.rows == "M1/nlp/piqa"
    assert (p.value, p.n) == (0.03125, 8)


def test_equal_models_pay_no_tax(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config(evaluation=wanting("piqa"))
    for model in ("M0", "M1"):
        measured(run, model, "piqa", {f"piqa/{k}": float(k % 2) for k in range(6)})
    rows = made(run.open()).rows

    assert (rows[0].cells[0].value, rows[1].cells[0].value) == (0.0, 1.0)


def test_the_macro_average_weighs_subjects_and_not_items(tmp_path: Path) -> None:
    # Subject a: 1 item, M1 loses it: −100. Subject b: 4 items, M1 wins one: +25.
    # Micro (−1 + 1)/5 = 0; macro (−100 + 25)/2 = −37.5.
    run = RunBuilder(tmp_path).config(evaluation=wanting("mmlu"))
    b = {f"mmlu_b/{k}": 0.0 for k in range(4)}
    measured(run, "M0", "mmlu", {"mmlu_a/0": 1.0, **b})
    measured(run, "M1", "mmlu", {"mmlu_a/0": 0.0, **b, "mmlu_b/0": 1.0})
    table = made(run.open())

    assert table.columns == ("MMLU (micro)", "MMLU (macro)")
    assert [cell.value for cell in table.rows[0].cells] == [0.0, pytest.approx(-37.5)]
    assert [cell.n for cell in table.rows[0].cells] == [5, 5]


def test_items_that_one_model_lacks_are_missing_in_the_macro_average_too(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config(evaluation=wanting("mmlu"))
    measured(run, "M0", "mmlu", {"mmlu_a/0": 1.0, "mmlu_b/0": 1.0})
    measured(run, "M1", "mmlu", {"mmlu_a/0": 0.0})
    micro, macro = made(run.open()).rows[0].cells

    assert (micro.value, macro.value) == (-100.0, -100.0)
    assert (micro.missing, macro.missing) == (1, 1)


def test_a_task_that_one_of_the_two_lacks_is_missing_with_the_reason(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config(evaluation=wanting("piqa")).model("M1")
    measured(run, "M0", "piqa", {"piqa/0": 1.0})
    table = made(run.failed(M1__nlp__piqa="no data").open())

    assert table.rows[0].cells[0].value is None
    assert table.rows[0].cells[0].reason == "M1: failed: no data"
    assert table.rows[1].cells[0].reason == "M1: failed: no data"


def test_without_m0_every_difference_is_missing(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config(evaluation=wanting("piqa", models=("M1",)))
    measured(run, "M1", "piqa", {"piqa/0": 1.0})
    cell = made(run.open()).rows[0].cells[0]

    assert cell.reason == "M0: M0 is not among evaluation.models"


def test_models_without_a_common_item_have_no_difference(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config(evaluation=wanting("piqa"))
    measured(run, "M0", "piqa", {"piqa/0": 1.0})
    measured(run, "M1", "piqa", {"piqa/1": 1.0})
    cell = made(run.open()).rows[0].cells[0]

    assert (cell.value, cell.n, cell.missing) == (None, 0, 2)
    assert cell.reason == "the two models have no item in common"


def test_the_papers_difference_stands_beside_a_whole_task_of_its_model(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config(evaluation=wanting("piqa", "openbookqa"))
    run.model("M0", base="Llama-2-70b-hf")
    for model in ("M0", "M1"):
        measured(run, model, "piqa", {f"piqa/{k}": 1.0 for k in range(1838)})
        measured(run, model, "openbookqa", {f"openbookqa/{k}": 1.0 for k in range(500)})
    table = made(run.open())

    piqa, plain, llamas = table.rows[0].cells
    assert piqa.published == Published(0.12, "Tables 3 and 9")  # 82.92 − 82.80
    # OpenBookQA's 57.60 − 60.20 is by LLaMA's protocol, not by lm-eval's.
    assert (plain.published, llamas.published) == (None, None)
    assert "lm-eval's openbookqa is not the paper's" in table.notes[-1]


def test_the_figure_shows_mmlu_by_its_macro_average(tmp_path: Path) -> None:
    # As in the table's test: micro 0, macro −37.5.
    run = RunBuilder(tmp_path).config(evaluation=wanting("mmlu"))
    b = {f"mmlu_b/{k}": 0.0 for k in range(4)}
    measured(run, "M0", "mmlu", {"mmlu_a/0": 1.0, **b})
    measured(run, "M1", "mmlu", {"mmlu_a/0": 0.0, **b, "mmlu_b/0": 1.0})
    figure = alignment_tax.figure(run.open())
    assert figure is not None
    assert "−37.5" in figure.description


def test_the_number_of_tests_is_said(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config(evaluation=wanting("piqa", "arc_easy"))
    for model in ("M0", "M1"):
        measured(run, model, "piqa", {"piqa/0": 1.0})
        measured(run, model, "arc_easy", {"arc_easy/0": 1.0})

    assert "p-values are not corrected for the 2 tests in this table." in made(run.open()).notes


def test_one_model_alone_pays_no_tax(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config(evaluation=wanting("piqa", models=("M0",)))

    assert alignment_tax.table(run.open()) is None
