from __future__ import annotations

from pathlib import Path

from core.records import Score
from reports.sections.alpaca_eval import by_tag as breakdowns
from tests.reports.runs import RunBuilder, imported, score

TAGGED = {
    "benchmarks": ["alpaca_eval"],
    "models": ["M1", "M2"],
    "alpaca_eval": {"tags": True},
}
SCIENCE, COOKING = "Science / Technology / Engineering", "Cooking / Recipes"


def tagged(run: RunBuilder) -> RunBuilder:
    run.scores(
        "M1/alpaca_eval",
        score(f"win_rate/category/{SCIENCE}", 40.0, 5, 1),
        score(f"win_rate/category/{COOKING}", 60.0, 2),
        score("win_rate/complexity/1-2", 50.0, 4),
        score("win_rate/length/1 paragraph", 10.0, 3),
        score("win_rate/category/untagged", 0.0, 1),
    )
    return run.scores("M2/alpaca_eval", score(f"win_rate/category/{SCIENCE}", 70.0, 6))


def test_a_row_per_group_a_column_per_model_and_the_prompts_of_each(tmp_path: Path) -> None:
    table = breakdowns.table(
        tagged(RunBuilder(tmp_path).config(evaluation=TAGGED)).open(), "category"
    )
    assert table is not None

    assert table.columns == ("prompts", "M1", "M2")
    assert [row.label for row in table.rows] == [SCIENCE, COOKING, "untagged"]
    science, cooking, _ = table.rows
    assert [cell.value for cell in science.cells] == [6, 40.0, 70.0]  # 5 + 1 missing; 6
    assert (science.cells[1].n, science.cells[1].missing) == (5, 1)
    assert cooking.cells[2].reason == "not measured"
    assert science.cells[1].rows == "M1/alpaca_eval"
    assert table.origin == "Figure 4"


def test_complexity_and_length_have_tables_of_their_own(tmp_path: Path) -> None:
    results = tagged(RunBuilder(tmp_path).config(evaluation=TAGGED)).open()
    complexity, length = (
        breakdowns.table(results, "complexity"),
        breakdowns.table(results, "length"),
    )
    assert complexity is not None and length is not None

    assert [row.label for row in complexity.rows] == ["1-2"]
    assert [row.label for row in length.rows] == ["1 paragraph"]
    assert complexity.rows[0].cells[1].value == 50.0
    assert length.rows[0].cells[1].value == 10.0
    assert (complexity.origin, length.origin) == ("Figure 11", "Figure 11")


def test_counts_of_other_prompts_do_not_stand_beside_table_6(tmp_path: Path) -> None:
    judge = {"judge": {"backend": "model", "model": "M1"}}
    run = RunBuilder(tmp_path).config(evaluation={**TAGGED, **judge})
    table = breakdowns.table(tagged(run).open(), "category")
    assert table is not None

    assert all(row.cells[0].published is None for row in table.rows)
    assert "the judge is this run's M1" in table.notes[-1]


def test_counts_of_the_805_prompts_stand_beside_table_6(tmp_path: Path) -> None:
    rates = (Score("win_rate", 10.1, 805), score(f"win_rate/category/{SCIENCE}", 9.0, 130))
    table = breakdowns.table(imported(tmp_path, "humpback-llama2-70b", *rates).open(), "category")
    assert table is not None
    prompts = table.rows[0].cells[0]
    assert prompts.published is not None

    assert (prompts.value, prompts.published.value) == (130, 134)
    assert prompts.published.source == "Table 6"


def test_wanted_tags_that_are_not_there_are_one_row_with_the_reason(tmp_path: Path) -> None:
    table = breakdowns.table(RunBuilder(tmp_path).config(evaluation=TAGGED).open(), "category")
    assert table is not None

    assert [row.label for row in table.rows] == ["all"]
    assert [cell.reason for cell in table.rows[0].cells] == [
        "not tagged yet", "M1 is not trained yet", "M2 is not trained yet",
    ]  # fmt: skip


def test_without_tags_there_is_no_breakdown(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config(evaluation={"benchmarks": ["alpaca_eval"], "models": ["M1"]})
    results = run.scores("M1/alpaca_eval", score("win_rate", 5.0, 9)).open()

    assert breakdowns.table(results, "category") is None
    assert breakdowns.table(results, "complexity") is None
    assert breakdowns.table(results, "length") is None
