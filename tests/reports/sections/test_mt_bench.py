from __future__ import annotations

from pathlib import Path
from typing import Any

from core.reader import RunReader
from core.records import Score
from core.stages import Stage, evaluation_ref
from core.store import Built
from reports.document import Published, Table
from reports.sections import mt_bench
from tests.reports.runs import QUESTIONS, RunBuilder, imported, score

ONE = {"benchmarks": ["mt_bench"], "models": ["M0", "M1"]}


def graded(value: float, n: int = 160, missing: int = 0, **detail: Any) -> list[Score]:
    """The scores that the benchmark writes, all the same but math."""
    found = [score(key, value, n, missing) for key in mt_bench.COLUMNS if key != "overall"]
    found = [s for s in found if s.key != "category/math"]
    return [
        *found,
        score("category/math", 2.0, 20),
        score("overall", value, n, missing, detail=detail),
    ]


def made(results: RunReader) -> Table:
    found = mt_bench.table(results)
    assert found is not None
    return found


def test_a_row_has_the_papers_columns_in_its_order_and_the_turns(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config(evaluation=ONE).scores("M1/mt_bench", *graded(5.0))
    table = made(run.open())

    assert table.columns == (
        "writing", "roleplay", "reasoning", "math", "coding", "extraction", "STEM", "humanities",
        "overall", "turn 1", "turn 2", "math, coding, reasoning", "rest",
    )  # fmt: skip
    cells = table.rows[1].cells
    assert [cell.value for cell in cells] == [5.0] * 3 + [2.0] + [5.0] * 9
    assert {cell.rows for cell in cells} == {"M1/mt_bench"}
    assert (cells[8].low, cells[8].high, cells[8].n) == (4.0, 6.0, 160)


def test_a_model_that_was_not_graded_is_missing_with_its_reason(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config(evaluation=ONE).model("M0")
    table = made(run.failed(**{"M0__mt_bench": "time-out"}).open())

    assert {cell.reason for cell in table.rows[0].cells} == {"failed: time-out"}
    assert {cell.reason for cell in table.rows[1].cells} == {"M1 is not trained yet"}


def test_unread_grades_repeats_and_the_judges_spread_stand_below(tmp_path: Path) -> None:
    detail = {
        "unparsed": {"no_score": 2, "failed": 1},
        "judged_again": 4,
        "turn_sd": 0.25,
        "overall_sd": 0.0625,
    }
    run = RunBuilder(tmp_path).config(evaluation=ONE)
    noise = Score("judge_noise", 0.25, 160, detail={"between_sd": 2.0, "judge_share": 0.015})
    run.scores("M1/mt_bench", *graded(5.0, 157, 3, **detail), noise)
    notes = made(run.open()).notes

    assert "M1: 3 of 160 grades missing (failed 1, no_score 2)." in notes
    assert "M1: 4 judgments repeat a turn; all count." in notes
    assert "M1: the overall score deviates by 0.062 between draws." in notes
    assert (
        "M1: the judge's noise: repeated judgments of one item deviate by 0.25 points (160 items), "
        "2 % of the mean's variance; the items' own levels by 2.00. The intervals hold both."
    ) in notes


def test_a_judge_asked_once_has_an_unknown_noise(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config(evaluation=ONE).scores("M1/mt_bench", *graded(5.0, 160, 0))
    assert (
        "M1: the judge's noise is unknown, since each item was judged once: the intervals hold it "
        "together with the choice of items."
    ) in made(run.open()).notes


def test_a_category_without_a_grade_has_the_benchmarks_own_reason(tmp_path: Path) -> None:
    nothing = Score("category/math", None, 0, 2, reason="no judgment has a score")
    run = RunBuilder(tmp_path).config(evaluation=ONE).scores("M1/mt_bench", nothing)
    cell = made(run.open()).rows[1].cells[3]

    assert (cell.value, cell.n, cell.missing) == (None, 0, 2)
    assert cell.reason == "no judgment has a score"


def test_under_the_papers_conditions_its_numbers_stand_beside(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config(evaluation=ONE).model("M0", base="Llama-2-70b-hf")
    inputs = {"mt_bench:question.jsonl": QUESTIONS}
    ref = evaluation_ref("M1/mt_bench", Stage.ANSWERS)
    run.rows(ref, [], inputs=inputs, built=Built(counts={"questions": 80}))
    run.judged("M1/mt_bench", Stage.TURN_JUDGMENTS, judge="gpt-4")
    table = made(run.scores("M1/mt_bench", *graded(6.5)).open())
    cells = table.rows[1].cells

    assert cells[8].published == Published(6.78, "Tables 2 and 10")
    assert cells[3].published == Published(3.05, "Tables 2 and 10")
    assert cells[11].published == Published(3.83, "Tables 2 and 10")
    assert cells[9].published is None  # the paper does not give the turns
    assert not any(note.startswith("Not comparable with") for note in table.notes)


def test_a_recorded_model_stands_beside_what_was_published_of_it(tmp_path: Path) -> None:
    run = imported(tmp_path, "gemini-1.5-flash", *graded(8.76875), benchmark="mt_bench")
    table = made(run.open())

    assert table.rows[0].label == "gemini-1.5-flash"
    assert table.rows[0].cells[8].published == Published(8.77, "Hameed92/FastChat 22e3c8a")
    assert "Judge: gpt-4." in table.notes


def test_a_recorded_model_by_another_judge_does_not(tmp_path: Path) -> None:
    run = imported(
        tmp_path, "gemini-1.5-flash", *graded(8.8), benchmark="mt_bench", judge="claude-3"
    )
    table = made(run.open())

    assert table.rows[0].cells[8].published is None
    assert "is claude-3, the published numbers' is GPT-4" in table.notes[-1]


def test_without_interest_and_without_scores_there_is_no_table(tmp_path: Path) -> None:
    assert mt_bench.table(RunBuilder(tmp_path).open()) is None


def test_the_real_recorded_judgments_print_their_published_scores(
    tmp_path: Path, shared: Path
) -> None:
    from reports.document import Report, Section
    from reports.formats import markdown
    from tests.evaluation.imports import import_results

    names = ("gemini-1.5-flash.jsonl", "mambainllama.jsonl.gz")
    files = [shared / "data" / "mt_bench" / f"gpt-4_single.{name}" for name in names]
    import_results(tmp_path, judgments=files)
    table = made(RunReader(tmp_path))
    text = markdown.render(Report("r", (), (Section("s", "s", tables=(table,)),)))

    for value in ("8.77", "7.12", "7.31", "7.03", "6.58", "6.39", "6.37"):
        line = next(one for one in text.splitlines() if f"published: {value} (" in one)
        assert f" {value} [" in line
