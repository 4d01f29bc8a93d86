from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.intervals import wilson
from core.reader import RunReader
from core.records import Score
from reports.document import Published, Table
from reports.sections.nlp import scores as nlp
from tests.reports.runs import RunBuilder


def wanting(*tasks: str, models: tuple[str, ...] = ("M0", "M1")) -> dict[str, Any]:
    return {"benchmarks": ["nlp"], "models": list(models), "nlp": {"tasks": list(tasks)}}


def right(value: float, key: str = "acc_norm", n: int = 100, **more: Any) -> Score:
    return Score(key, value, n, stderr=3.0, detail={"shots": 0, "headline": True}, **more)


def made(results: RunReader) -> Table:
    found = nlp.table(results)
    assert found is not None
    return found


def values(table: Table, at: int) -> list[float | None]:
    return [cell.value for cell in table.rows[at].cells]


def test_a_column_shows_the_metric_that_the_scores_mark_as_the_papers(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config(evaluation=wanting("arc_easy", "gsm8k_cot"))
    other = Score("acc", 99.0, 100, detail={"shots": 0, "headline": False})
    run.scores("M0/nlp/arc_easy", other, right(60.0))
    flexible = Score("exact_match,flexible-extract", 99.0, 100, detail={"headline": False})
    strict = Score("exact_match,strict-match", 40.0, 100, detail={"shots": 8, "headline": True})
    run.scores("M0/nlp/gsm8k_cot", flexible, strict)
    table = made(run.open())

    # lm-eval's strict pattern reads "The answer is 18" without a full stop as 1.
    assert table.columns == ("ARC-e", "GSM8K", "GSM8K (flexible)", "average")
    assert values(table, 0) == [60.0, 40.0, 99.0, 50.0]
    assert table.rows[0].cells[1].rows == "M0/nlp/gsm8k_cot"
    assert "acc_norm: ARC-e; exact_match,strict-match: GSM8K;" in table.notes[0]
    assert "is read as 1); flexible is the last number." in table.notes[0]
    assert "8 examples: GSM8K." in table.notes[0]


def test_mmlu_has_its_micro_and_its_macro_average_and_counts_once(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config(evaluation=wanting("mmlu", "piqa", models=("M0",)))
    macro = Score("acc_macro", 30.0, 100, stderr=4.0, detail={"shots": 5, "headline": False})
    run.scores("M0/nlp/mmlu", right(50.0, "acc"), macro)
    run.scores("M0/nlp/piqa", right(60.0))
    table = made(run.open())

    assert table.columns == ("PIQA", "MMLU (micro)", "MMLU (macro)", "average")
    # (60 + 30) / 2; standard error √(3² + 4²) / 2 = 2.5, as of .45·.55/.025² = 396 items, more than
    # the 200 there are.
    assert values(table, 0) == [60.0, 50.0, 30.0, 45.0]
    average = table.rows[0].cells[3]
    assert average.n == 200
    assert average.low is not None and average.high is not None
    expected = wilson(90, 200)
    assert expected is not None
    assert (average.low, average.high) == pytest.approx(expected.scaled(100))
    assert "Average over 2 tasks, MMLU by its macro average." in table.notes


def test_the_average_is_over_the_tasks_that_all_models_have_and_says_so(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config(evaluation=wanting("arc_easy", "piqa", "nq_open"))
    for model, found in (("M0", (10.0, 20.0, 90.0)), ("M1", (30.0, 40.0, None))):
        for task, value in zip(("arc_easy", "piqa", "nq_open"), found, strict=True):
            if value is not None:
                run.scores(f"{model}/nlp/{task}", right(value))
    table = made(run.open())

    assert [values(table, at)[-1] for at in (0, 1)] == [15.0, 35.0]
    assert "Average over the 2 of 3 tasks that all models have; without NQ." in table.notes


def test_a_model_without_any_task_takes_no_task_from_the_others(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config(evaluation=wanting("arc_easy"))
    table = made(run.scores("M0/nlp/arc_easy", right(10.0)).open())

    assert values(table, 0) == [10.0, 10.0]
    assert values(table, 1) == [None, None]
    assert table.rows[1].cells[0].reason == "M1 is not trained yet"
    assert table.rows[1].cells[1].reason == "no task has a number"


def test_models_without_a_common_task_have_no_average(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config(evaluation=wanting("arc_easy", "piqa"))
    run.scores("M0/nlp/arc_easy", right(10.0)).scores("M1/nlp/piqa", right(10.0))
    table = made(run.failed(M1__nlp__arc_easy="no data").open())

    assert [row.cells[-1].value for row in table.rows] == [None, None]
    assert table.rows[0].cells[-1].reason == "no task has a number for all models"
    assert table.rows[1].cells[0].reason == "failed: no data"


def test_a_task_without_items_is_missing_and_not_zero(tmp_path: Path) -> None:
    nothing = Score("acc_norm", None, 0, reason="no items", detail={"headline": True})
    run = RunBuilder(tmp_path).config(evaluation=wanting("arc_easy", models=("M0",)))
    cell = made(run.scores("M0/nlp/arc_easy", nothing).open()).rows[0].cells[0]

    assert (cell.value, cell.reason, cell.n) == (None, "no items", 0)


def test_the_average_of_one_item_says_nearly_nothing(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config(evaluation=wanting("arc_easy", models=("M0",)))
    one = Score("acc_norm", 100.0, 1, detail={"headline": True})
    average = made(run.scores("M0/nlp/arc_easy", one).open()).rows[0].cells[-1]

    assert (average.value, average.high) == (100.0, 100.0)
    assert average.low is not None and average.low < 6


def test_a_task_that_is_not_in_the_paper_is_shown_by_its_own_name(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config(evaluation=wanting("winogrande", models=("M0",)))
    plain = Score("acc", 70.0, 100, stderr=1.0, detail={"headline": False})
    other = Score("bleu", 1.0, 100, detail={"headline": False})
    table = made(run.scores("M0/nlp/winogrande", other, plain).open())

    assert table.columns[0] == "winogrande"
    assert table.rows[0].cells[0].value == 70.0


def test_only_a_whole_task_stands_beside_the_papers_number(tmp_path: Path) -> None:
    wanted = wanting("piqa", "nq_open", models=("M0",))
    run = RunBuilder(tmp_path).config(evaluation=wanted).model("M0", base="Llama-2-70b-hf")
    run.items("M0/nlp/piqa", {f"piqa/{k}": 1.0 for k in range(1838)})
    run.items("M0/nlp/nq_open", {"nq_open/0": 1.0})
    run.scores("M0/nlp/piqa", right(82.0, n=1838))
    table = made(run.scores("M0/nlp/nq_open", right(25.0, "exact_match", 1)).open())

    assert table.rows[0].cells[0].published == Published(82.8, "Tables 3 and 9")
    assert table.rows[0].cells[1].published is None
    assert table.notes[-1] == (
        "Not comparable with published results: nq_open has 1 of 3,610 items."
    )


@pytest.mark.parametrize(
    ("task", "plain", "llamas", "published"),
    [("openbookqa", "acc_norm", "acc_bayes", 60.2), ("social_iqa", "acc", "acc_norm", 50.7)],
)
def test_the_papers_openbookqa_and_siqa_stand_beside_llamas_metric_alone(
    tmp_path: Path, task: str, plain: str, llamas: str, published: float
) -> None:
    """LLaMA-7B has 57.2 published and 42.4 by lm-eval's acc_norm."""
    wanted = wanting(task, models=("M0",))
    old = RunBuilder(tmp_path / "old").config(evaluation=wanted).model("M0", base="Llama-2-70b-hf")
    table = made(old.scores(f"M0/nlp/{task}", right(42.4, plain)).open())
    assert [cell.published for cell in table.rows[0].cells] == [None] * 3
    assert f"lm-eval's {task} is not the paper's, which divides by" in table.notes[-1]

    run = RunBuilder(tmp_path / "new").config(evaluation=wanted).model("M0", base="Llama-2-70b-hf")
    other = Score(llamas, 57.2, 100, stderr=3.0, detail={"headline": False})
    table = made(run.scores(f"M0/nlp/{task}", right(42.4, plain), other).open())
    assert values(table, 0) == [42.4, 57.2, 42.4]
    cells = table.rows[0].cells
    assert (cells[0].published, cells[1].published) == (
        None,
        Published(published, "Tables 3 and 9"),
    )
    assert table.columns[1].endswith(" (LLaMA)")
    assert "lm-eval's metric does not and is not comparable with the paper's" in table.notes[0]


def test_the_papers_mmlu_stands_beside_the_macro_average_alone(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config(evaluation=wanting("mmlu", models=("M0",)))
    run.model("M0", base="Llama-2-70b-hf")
    run.scores("M0/nlp/mmlu", right(50.0, "acc"), Score("acc_macro", 51.0, 9, detail={}))
    cells = made(run.open()).rows[0].cells

    assert cells[0].published is None
    assert cells[1].published == Published(68.9, "Tables 3 and 9")


def test_without_interest_and_without_scores_there_is_no_table(tmp_path: Path) -> None:
    assert nlp.table(RunBuilder(tmp_path).open()) is None
