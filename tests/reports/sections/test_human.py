"""The report's section on human evaluation, from real votes to what is printed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from core.errors import StaleArtifact
from core.reader import RunReader
from core.stages import Stage, evaluation_ref
from core.store import Store
from evaluation.human.results import write_results
from reports.build import report_of
from reports.collect import collect
from reports.gate.pairs import pair_up
from reports.lineage import verified
from reports.published import comparable
from reports.sections import human
from reports.sections import human as figures
from reports.sections.human import rows as votes
from tests.evaluation.human.studies import compared_run, comparison
from tests.evaluation.human.voting import cast_votes, judge_verdicts, judged_study
from tests.reports.runs import RunBuilder

if TYPE_CHECKING:
    from reports.document import Cell, Table
    from reports.scores import Metric

NO_STUDY = (
    "There is no human study of this run: make human-eval RUN=… A=M3 B=sft N=50 ANNOTATORS=3."
)
# By majority: A, tie (three-way split), B, tie (voted), A; the last has one vote of three.
SAID = {"p0": "AAB", "p1": "ABt", "p2": "BBB", "p3": "ttA", "p4": "AAA", "p5": "A--"}
JUDGE = {"p0": "A", "p1": "A", "p2": "AB", "p3": "t", "p4": "A", "p5": "B"}


def studied(run: Path, said: dict[str, str] = SAID, judge: dict[str, str] = JUDGE) -> RunReader:
    """A run with a study whose results are written, opened for a report."""
    folder = judged_study(run, said, judge)
    write_results(folder)
    return RunBuilder(run).config().open()


def cells(table: Table | None) -> dict[str, Cell]:
    """The cells of a table's only row, by column."""
    assert table is not None
    (row,) = table.rows
    assert row.label == "M3 vs SFT baseline"
    return dict(zip(table.columns, row.cells, strict=True))


def test_without_a_study_the_section_says_so_and_how_to_make_one(tmp_path: Path) -> None:
    results = RunBuilder(tmp_path).config().open()
    report = report_of(results, {}, most_rows=10)
    (section,) = [s for s in report.sections if s.key == "human"]

    assert section.paragraphs == (NO_STUDY,)
    assert section.figures == ()
    assert [table.key for table in section.tables] == ["human"]
    assert {cell.reason for row in section.tables[0].rows for cell in row.cells} == {human.REASON}


def test_a_study_fills_figure_tables_and_rows(tmp_path: Path) -> None:
    results = studied(tmp_path / "run")
    report = report_of(results, verified(results.store), most_rows=10)
    (section,) = [s for s in report.sections if s.key == "human"]

    assert section.paragraphs == (
        "M3 against SFT baseline: 3 people, blind, 16 votes; 5 of 6 items are judged by all. "
        "Without a majority, and counted as ties: 1 (three-way splits: 1).",
    )
    assert [figure.origin for figure in section.figures] == ["Figure 5"]
    assert [table.key for table in section.tables] == ["human", "human_agreement", "human_judge"]
    assert report.groups["human/M3-sft"].total == 6


def test_win_tie_lose_have_n_intervals_and_what_is_missing(tmp_path: Path) -> None:
    found = cells(human.table(studied(tmp_path / "run")))

    assert [found[key].value for key in ("win", "tie", "lose")] == [40.0, 40.0, 20.0]
    assert found["net (win − lose)"].value == 20.0
    assert {(found[key].n, found[key].missing) for key in ("win", "tie", "lose")} == {(5, 1)}
    for key in ("win", "tie", "lose", "net (win − lose)"):
        assert found[key].low is not None
        assert found[key].rows == "human/M3-sft"


def test_how_people_agree_stands_with_the_splits(tmp_path: Path) -> None:
    found = cells(human.people(studied(tmp_path / "run")))

    counts = ("people", "votes", "ties voted", "no majority", "three-way splits")
    assert [found[key].value for key in counts] == [3, 16, 1, 1, 1]
    # Pairs that agree: 1 + 0 + 3 + 1 + 3 of 15; unanimous: p2 and p4 of 5.
    assert found["two agree %"].value == pytest.approx(100 * 8 / 15)
    assert found["unanimous %"].value == pytest.approx(40.0)
    assert found["alpha"].value is not None
    assert found["alpha"].low is not None
    assert (found["alpha"].n, found["alpha"].missing) == (5, 1)


def test_the_judge_stands_beside_people_on_the_items_that_both_have(tmp_path: Path) -> None:
    found = cells(human.judge(studied(tmp_path / "run")))
    agrees = found["agrees with majority %"]

    # The judge: A, A, tie, tie, A against A, tie, B, tie, A. p5 has no majority yet.
    assert (agrees.value, agrees.n) == (60.0, 5)
    # A 2, tie 2, B 1 against A 3, tie 2, B 0: (6 + 4)/25.
    assert found["by chance %"].value == pytest.approx(40.0)
    assert found["kappa"].value == pytest.approx(1 / 3)
    # p0 A/A and p4 A/A.
    assert (found["neither says tie %"].value, found["neither says tie %"].n) == (100.0, 2)
    # Single votes: 2 + 1 + 0 + 2 + 3 of 15, beside 8 of 15 pairs of people.
    assert found["agrees with a vote %"].value == pytest.approx(100 * 8 / 15)
    assert found["two people agree %"].value == pytest.approx(100 * 8 / 15)


def test_a_run_without_verdicts_says_that_there_is_no_judge_to_compare(tmp_path: Path) -> None:
    found = cells(human.judge(studied(tmp_path / "run", judge={})))

    reason = "no head-to-head verdicts on M3 and sft in this run"
    assert found["agrees with majority %"].reason == reason
    assert found["kappa"].reason == reason
    assert found["two people agree %"].value is not None


def test_people_who_all_say_the_same_have_no_alpha_and_no_kappa(tmp_path: Path) -> None:
    results = studied(tmp_path / "run", {"p0": "AAA", "p1": "AAA"}, {"p0": "A", "p1": "A"})

    assert cells(human.people(results))["alpha"].reason == (
        "all votes are the same, so nothing tells agreement from habit"
    )
    assert cells(human.judge(results))["kappa"].reason == "chance alone agrees always"


def test_a_study_without_results_says_which_command_makes_them(tmp_path: Path) -> None:
    run = tmp_path / "run"
    comparison(run)
    results = RunBuilder(run).config().open()

    reason = "no results yet: srlm-eval human-results --study RUN/eval/human/M3-sft"
    assert {cell.reason for cell in cells(human.table(results)).values()} == {reason}
    assert human.paragraphs(results) == (f"M3 against SFT baseline: {reason}.",)
    assert human.people(results) is None
    assert human.judge(results) is None
    assert figures.figure(results) is None


def test_the_folder_of_a_ranking_is_no_study_of_two_models(tmp_path: Path) -> None:
    (tmp_path / "eval" / "human" / "iter2-candidates").mkdir(parents=True)

    assert RunBuilder(tmp_path).config().open().studies == ()


def test_the_figure_shows_the_rates_and_what_is_not_judged_by_all(tmp_path: Path) -> None:
    figure = figures.figure(studied(tmp_path / "run"))
    assert figure is not None

    assert figure.description == (
        "M3 against SFT: 40.0 % won, 40.0 % tied, 20.0 % lost (n = 5, 1 not judged by all)."
    )
    assert "M3 vs SFT (n = 5 + 1 not judged by all)" in figure.svg


def test_every_vote_is_a_row_and_leads_to_the_judge_s_words(tmp_path: Path) -> None:
    group = votes(studied(tmp_path / "run"), "M3", "sft", 10)
    assert group is not None
    won, split, _, _, _, waiting = group.items

    assert won.cells == ("Question 0?", "M3 wins", "2", "0", "1")
    assert split.cells[1:] == ("tie (no majority)", "1", "1", "1")
    assert waiting.cells[1] == "– (1 of 3 votes)"
    assert won.parts[0] == ("Prompt", "Question 0?")
    assert won.parts[-3:] == (
        ("annotator-1: M3 (M3 on the left, 2.5 s)", "p0 by 1"),
        ("annotator-2: M3 (M3 on the left, 2.5 s)", "p0 by 2"),
        ("annotator-3: SFT (M3 on the left, 2.5 s)", "p0 by 3"),
    )
    assert [(link.group, link.row) for link in won.links] == [("head_to_head/M3-sft", "p0")]


def test_rows_are_no_link_to_verdicts_that_are_not_there(tmp_path: Path) -> None:
    group = votes(studied(tmp_path / "run", judge={}), "M3", "sft", 10)
    assert group is not None
    assert group.items[0].links == ()


def metrics_of(results: RunReader) -> dict[str, Metric]:
    found = collect(results).metrics
    return {metric.metric: metric for metric in found if metric.benchmark == "human"}


def test_scores_json_has_the_majorities_by_item(tmp_path: Path) -> None:
    found = metrics_of(studied(tmp_path / "run"))

    assert found["net"].id == "human/M3-sft/net"
    assert found["net"].items == {"p0": 100.0, "p1": 0.0, "p2": -100.0, "p3": 0.0, "p4": 100.0}
    assert (found["net"].value, found["net"].unit, found["net"].better) == (
        20.0,
        "percent",
        "higher",
    )
    assert found["people/alpha"].unit == found["judge/agreement"].unit == "share"
    assert found["people/alpha"].better == found["tie"].better == ""
    assert found["net"].conditions["human.annotators"] == 3
    assert set(found["net"].conditions) == {"human.annotators", "human.prompts"}


def test_what_people_said_is_gated_only_if_asked_for(tmp_path: Path) -> None:
    scores = collect(studied(tmp_path / "run"))

    unasked = pair_up(scores, scores, only=(), exclude=())
    assert unasked.pairs == ()
    asked = pair_up(scores, scores, only=("human",), exclude=())
    assert [pair.baseline.id for pair in asked.pairs] == ["human/M3-sft/net"]


def test_a_majority_that_is_not_in_the_rates_is_refused(tmp_path: Path) -> None:
    results = studied(tmp_path / "run")
    assert results.items("human/M3-sft")["net"].values["p0"] == 100.0
    results.items("human/M3-sft")["net"].values["p0"] = -100.0

    with pytest.raises(StaleArtifact, match="srlm-eval human-results --study"):
        collect(results)


def test_results_from_other_verdicts_than_lie_there_are_refused_with_the_command(
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    results = studied(run)
    Store(run).remove([evaluation_ref("head_to_head/M3-sft", Stage.VERDICTS)])
    judge_verdicts(run, "M3", "sft", {**JUDGE, "p0": "B"})

    with pytest.raises(StaleArtifact, match="run `srlm-eval human-results`"):
        verified(results.store)


def test_answers_made_again_since_are_said_to_be_others(tmp_path: Path) -> None:
    run = tmp_path / "run"
    results = studied(run, judge={})
    assert not [note for note in _notes(results) if "no longer those" in note]
    for model in ("M3", "sft"):
        Store(run).remove([evaluation_ref(f"{model}/head_to_head", Stage.ANSWERS)])
    compared_run(run, 2)  # two prompts instead of six

    assert (
        "M3 vs SFT baseline: the answers of M3 and SFT baseline in this run are no longer those "
        "that people judged; those are kept in the study."
    ) in _notes(results)


def _notes(results: RunReader) -> tuple[str, ...]:
    table = human.table(results)
    assert table is not None
    return table.notes


def test_somebody_left_out_is_named(tmp_path: Path) -> None:
    run = tmp_path / "run"
    folder = judged_study(run, {"p0": "AA-", "p1": "AB-"}, {})
    write_results(folder, ["annotator-3"])

    assert human.paragraphs(RunBuilder(run).config().open()) == (
        "M3 against SFT baseline: 2 people, blind, 4 votes; 2 of 2 items are judged by all. "
        "Left out: annotator-3. Without a majority, and counted as ties: 1 (three-way splits: 0).",
    )


def test_the_paper_s_rates_do_not_stand_beside_other_prompts_and_fewer_people(
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    folder = judged_study(run, {"p0": "AA", "p1": "BB"}, {})
    write_results(folder)
    results = RunBuilder(run).config().model("M0", base="llama-2-70b").open()

    assert comparable.incomparability_reasons(results, "human") == (
        "the prompts are not the paper's 50",
        "2 prompts are judged, the paper's 50",
        "2 annotators judge, in the paper 3",
    )
    assert {cell.published for cell in cells(human.table(results)).values()} == {None}


def test_votes_after_the_results_show_once_they_are_made_again(tmp_path: Path) -> None:
    run = tmp_path / "run"
    folder = comparison(run, n=1)
    write_results(folder)
    results = RunBuilder(run).config().open()
    assert cells(human.table(results))["win"].reason == (
        "no item has the votes of all annotators yet"
    )

    cast_votes(folder, {"p0": "AAB"})
    write_results(folder)
    assert cells(human.table(RunReader(run)))["win"].value == 100.0
