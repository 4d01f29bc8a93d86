from __future__ import annotations

from pathlib import Path
from typing import Any

from core.reader import RunReader
from core.records import Score
from core.stages import Ref, Stage
from reports.document import Published, Table
from reports.sections import agreement as reward_modelling
from tests.reports.runs import RunBuilder, score

ONE: dict[str, Any] = {"benchmarks": ["agreement"], "models": ["sft", "M1"]}


def judged(shuffled: float = 50.0) -> list[Score]:
    """The scores that the benchmark writes for one judge."""
    baselines = {"always_4": None, "shuffled": shuffled, "length": 55.0}
    return [
        score(
            "pairwise_accuracy",
            70.0,
            396,
            4,
            detail={"pairwise_accuracy/ties_half": 65.0, "pairwise_accuracy/ties_wrong": 60.0}
            | baselines,
        ),
        score("five_best", 40.0, 10, 4, detail=dict(baselines)),
        score("exact_match", 12.0, 9, 2, detail={"exact_match/ties_half": 11.0} | baselines),
        score("spearman", 0.25, 20, 4, detail={"spearman/pooled": 0.3} | baselines),
        score(
            "kendall_tau",
            0.2,
            20,
            4,
            detail={"kendall_tau/per_prompt_ties_excluded": 0.6} | baselines,
        ),
        Score("tie_rate", 0.35, 46, 4, 0.3, 0.4),
        Score("parse_rate", 0.9, 100, 0, 0.85, 0.95, detail={"no_score": 10}),
    ]


def made(found: Table | None) -> Table:
    assert found is not None
    return found


def agreement(tmp_path: Path) -> RunReader:
    run = RunBuilder(tmp_path).config(evaluation=ONE)
    return run.scores("M1/agreement", *judged()).open()


def test_a_row_has_five_metrics_and_the_rates_in_percent(tmp_path: Path) -> None:
    table = made(reward_modelling.table(agreement(tmp_path)))
    cells = table.rows[1].cells

    assert table.columns[5:] == ("tie rate %", "parse rate %")
    assert [cell.value for cell in cells] == [70.0, 40.0, 12.0, 0.25, 0.2, 35.0, 90.0]
    assert [(cell.n, cell.missing) for cell in cells[:2]] == [(396, 4), (10, 4)]
    assert (cells[5].low, cells[5].high) == (30.0, 40.0)
    assert [cell.digits for cell in cells] == [1, 1, 1, 3, 3, 1, 1]
    assert {cell.rows for cell in cells} == {"M1/agreement"}
    assert "M1: replies without a score: no_score 10 of 100." in table.notes


def test_a_judge_that_was_not_tried_is_missing_with_its_reason(tmp_path: Path) -> None:
    row = made(reward_modelling.table(agreement(tmp_path))).rows[0]

    assert row.label == "SFT baseline"
    assert {cell.reason for cell in row.cells} == {"sft is not trained yet"}


def test_an_undefined_metric_has_its_own_reason_and_no_number(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config(evaluation=ONE)
    run.scores("M1/agreement", Score("five_best", None, 0, reason="no reply has the perfect score"))
    cell = made(reward_modelling.table(run.open())).rows[1].cells[1]

    assert (cell.value, cell.reason) == (None, "no reply has the perfect score")


def test_every_reading_of_ties_is_a_row(tmp_path: Path) -> None:
    rows = {row.label: row for row in made(reward_modelling.readings(agreement(tmp_path))).rows}

    half = rows["M1: ties count half"].cells
    assert [cell.value for cell in half] == [65.0, None, 11.0, None, None]
    assert half[1].reason is None  # there is no such reading of 5-best: an empty cell
    assert rows["M1: ties count as wrong"].cells[0].value == 60.0
    assert rows["M1: pooled over all replies"].cells[3].value == 0.3
    assert rows["M1: prompts with all scores tied excluded"].cells[4].value == 0.6


def test_baselines_that_read_no_score_are_one_row_and_the_shuffled_ones_one_per_model(
    tmp_path: Path,
) -> None:
    run = RunBuilder(tmp_path).config(evaluation=ONE)
    run.scores("sft/agreement", *judged(48.0)).scores("M1/agreement", *judged(52.0))
    rows = {row.label: row for row in made(reward_modelling.readings(run.open())).rows}

    assert rows["the longer reply is better"].cells[0].value == 55.0
    assert rows["SFT baseline: its scores shuffled"].cells[0].value == 48.0
    assert rows["M1: its scores shuffled"].cells[0].value == 52.0
    always = rows["a score of 4 for every reply"].cells[0]
    assert (always.value, always.reason) == (None, "undefined for these scores")


def test_open_assistant_and_llama_stand_beside_table_4_with_a_caveat(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config(evaluation=ONE).model("M0", base="Llama-2-70b-hf")
    run.rows(Ref(1, Stage.RANKED), [], config={"eft.source": {"path": "OpenAssistant/oasst1"}})
    table = made(reward_modelling.table(run.scores("M1/agreement", *judged()).open()))

    assert table.rows[1].cells[0].published == Published(78.7, "Table 4")
    assert table.rows[1].cells[4].published == Published(0.253, "Table 4")
    assert any("evaluation split of Open Assistant is not public" in note for note in table.notes)


def test_sample_replies_do_not_stand_beside_table_4(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config(evaluation=ONE, eft={"source": {"path": "sample"}})
    table = made(reward_modelling.table(run.scores("M1/agreement", *judged()).open()))

    assert table.rows[1].cells[0].published is None
    assert "the replies are the packaged sample" in table.notes[-1]


def test_without_interest_and_without_scores_there_is_no_table(tmp_path: Path) -> None:
    results = RunBuilder(tmp_path).open()

    assert reward_modelling.table(results) is None
    assert reward_modelling.readings(results) is None
