from __future__ import annotations

from pathlib import Path

from core.records import Score
from core.stages import Stage
from reports.document import Published
from reports.sections import head_to_head
from tests.reports.runs import RunBuilder, score

ONE = {"benchmarks": ["head_to_head"], "head_to_head": {"matchups": [["M2", "M1"], ["M1", "sft"]]}}


def measured(run: RunBuilder) -> RunBuilder:
    """M2 against M1 on 10 prompts, 2 more unread: 5 won, 3 tied, 2 lost."""
    return run.scores(
        "head_to_head/M2-M1",
        score("win", 50.0, 10, 2),
        score("tie", 30.0, 10, 2),
        score("lose", 20.0, 10, 2),
        score("net", 30.0, 10, 2),
        Score("sign_test", 0.453125, 7, 2),
    )


def test_a_matchup_has_its_rates_net_and_sign_test_with_n_and_what_is_missing(
    tmp_path: Path,
) -> None:
    table = head_to_head.table(measured(RunBuilder(tmp_path).config(evaluation=ONE)).open())
    assert table is not None
    row = table.rows[0]

    assert row.label == "M2 vs M1"
    assert [cell.value for cell in row.cells] == [50.0, 30.0, 20.0, 30.0, 0.453125, 0.453125]
    assert [(cell.n, cell.missing) for cell in row.cells] == [(10, 2)] * 4 + [(7, 2)] * 2
    assert (row.cells[0].low, row.cells[0].high) == (49.0, 51.0)
    assert {cell.rows for cell in row.cells} == {"head_to_head/M2-M1"}
    assert table.origin == "Figure 3"


def test_a_matchup_that_was_not_compared_is_missing_with_its_reason(tmp_path: Path) -> None:
    table = head_to_head.table(measured(RunBuilder(tmp_path).config(evaluation=ONE)).open())
    assert table is not None
    row = table.rows[1]

    assert row.label == "M1 vs SFT baseline"
    assert {cell.value for cell in row.cells} == {None}
    assert {cell.reason for cell in row.cells} == {"M1 is not trained yet"}
    assert {cell.rows for cell in row.cells} == {""}


def test_a_failed_matchup_says_why(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config(evaluation=ONE)
    run.failed(**{"head_to_head__M2-M1": "the judge answered nothing"})
    table = head_to_head.table(run.open())
    assert table is not None

    assert table.rows[0].cells[0].reason == "failed: the judge answered nothing"


def test_numbers_older_than_a_failed_attempt_are_said_to_be_old(tmp_path: Path) -> None:
    run = measured(RunBuilder(tmp_path).config(evaluation=ONE))
    run.failed(**{"head_to_head__M2-M1": "no credit"})
    table = head_to_head.table(run.open())
    assert table is not None

    assert table.rows[0].cells[0].value == 50.0
    assert table.notes[-1] == (
        "M2 vs M1: the last attempt failed (no credit); the numbers are those of an earlier one."
    )


def test_published_rates_never_stand_beside_other_prompts(tmp_path: Path) -> None:
    table = head_to_head.table(measured(RunBuilder(tmp_path).config(evaluation=ONE)).open())
    assert table is not None

    assert all(cell.published is None for row in table.rows for cell in row.cells)
    said = [note for note in table.notes if note.startswith("Not comparable with")]
    assert len(said) == 1
    assert "not the paper's 256 test prompts" in said[0]


def test_published_rates_would_stand_beside_the_papers_conditions(tmp_path: Path) -> None:
    from reports.published.comparable import PublishedNumbers

    results = measured(RunBuilder(tmp_path).config(evaluation=ONE)).open()
    beside = PublishedNumbers(results, "head_to_head", ("M2-M1",))
    beside.own = ()

    assert beside.published("M2-M1", "win") == Published(55.5, "Figure 3")
    assert beside.published("M2-M1", "net") is None


def test_the_judge_is_named(tmp_path: Path) -> None:
    run = measured(RunBuilder(tmp_path).config(evaluation=ONE))
    run.judged("head_to_head/M2-M1", Stage.VERDICTS, judge="gpt-4o")
    table = head_to_head.table(run.open())
    assert table is not None

    assert "Judge: gpt-4o." in table.notes


def test_verdicts_that_nobody_could_read_leave_no_rate(tmp_path: Path) -> None:
    why = "no verdict could be read"
    run = RunBuilder(tmp_path).config(evaluation=ONE)
    run.scores("head_to_head/M2-M1", Score("win", None, 0, 10, reason=why))
    table = head_to_head.table(run.open())
    assert table is not None
    cell = table.rows[0].cells[0]

    assert (cell.value, cell.n, cell.missing, cell.reason) == (None, 0, 10, why)


def test_without_interest_and_without_scores_there_is_no_table(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config(evaluation={"benchmarks": ["nlp"]})

    assert head_to_head.table(run.open()) is None


def test_scores_that_the_configuration_no_longer_asks_for_are_shown(tmp_path: Path) -> None:
    run = measured(RunBuilder(tmp_path).config(evaluation={"benchmarks": ["nlp"]}))
    table = head_to_head.table(run.open())
    assert table is not None

    assert [row.label for row in table.rows] == ["M2 vs M1"]


def test_the_p_values_of_several_matchups_are_corrected_by_holm(tmp_path: Path) -> None:
    # 0.01 and 0.04 of two tests: 0.02, and the larger of 0.02 and 0.04.
    run = RunBuilder(tmp_path)
    for matchup, p_value in (("M2-M1", 0.01), ("M3-M1", 0.04)):
        run.scores(f"head_to_head/{matchup}", Score("sign_test", p_value, 20))
    made = head_to_head.table(run.open())
    assert made is not None
    assert made.columns[-2:] == ("sign test p", "Holm's p")
    assert [row.cells[-1].value for row in made.rows] == [0.02, 0.04]
    assert any("corrected for the 2 matchups of this table" in note for note in made.notes)
