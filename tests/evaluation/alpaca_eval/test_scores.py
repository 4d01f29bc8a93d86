from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from core.errors import DataError
from core.records import Score, Tag
from evaluation.alpaca_eval.files import instruction_key, read_annotations, write_annotations
from evaluation.alpaca_eval.scores import _on_leaderboard, recorded_results, report, scores
from tests.evaluation.alpaca import annotation

if TYPE_CHECKING:
    from pathlib import Path

    from core.records import Annotation

# Raw and length-controlled win rate, n and mean length, as published.
RECORDED = {
    "alpaca-7b": (2.591451, 5.875487, 805, 396),
    "humpback-llama2-70b": (10.121772, 16.249164, 805, 1107),
    "claude-2": (17.188240, 28.155196, 805, 1069),
    "text_davinci_001": (2.764005, 9.03, 803, 297),
}
KEYS = [
    "win_rate",
    "discrete_win_rate",
    "length_controlled_win_rate",
    "avg_length",
    "avg_length_reference",
]


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_file_gives_the_published_numbers_with_n_beside_them(
    name: str, shared: Path
) -> None:
    raw, controlled, n, length = RECORDED[name]
    folder = shared / "data" / "alpaca_eval"
    found = report(folder / f"{name}.annotations.json.gz", str(folder), bootstrap=0)
    assert found["win_rate"] == pytest.approx(raw, abs=1e-3)
    assert found["length_controlled_win_rate"] == pytest.approx(controlled, abs=0.2)
    assert found["length_control_variant"] == "length_controlled_v1"
    assert (found["n"], found["n_missing"], found["n_absent"]) == (n, 805 - n, 805 - n)
    assert int(found["avg_length"]) == length
    assert (found["model"], found["reference"]) == (name, "gpt4_1106_preview")
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_published_file_that_lacks_rows_gives_both_numbers_and_says_why(shared: Path) -> None:
    folder = shared / "data" / "alpaca_eval"
    found = report(folder / "text_davinci_001.annotations.json.gz", str(folder), bootstrap=0)
    assert found["length_controlled_win_rate_by_row"] == pytest.approx(9.03, abs=0.2)
    assert found["length_controlled_win_rate_by_instruction"] == pytest.approx(6.478, abs=0.2)
    assert found["length_controlled_win_rate"] == found["length_controlled_win_rate_by_row"]
    assert found["length_control_note"].startswith("2 of the 805 instructions are absent")
    assert found["length_control_note"].endswith("the published number is the one by row")
    whole = report(folder / "claude-2.annotations.json.gz", str(folder), bootstrap=0)
    assert whole["length_controlled_win_rate_by_row"] is None
    assert whole["length_control_note"] is None


def test_a_published_file_is_known_by_its_numbers_whatever_its_name(
    shared: Path, tmp_path: Path
) -> None:
    folder = shared / "data" / "alpaca_eval"
    rows = [
        replace(row, generator_2="another name")
        for row in read_annotations(folder / "text_davinci_001.annotations.json.gz")
    ]
    write_annotations(tmp_path / "renamed.json", rows)
    found = report(tmp_path / "renamed.json", str(folder), bootstrap=0)
    assert found["length_controlled_win_rate"] == pytest.approx(9.03, abs=0.2)
    # The leaderboard's files that lack rows, by their win rate and n: all score by row.
    for value, n in ((2.350210, 803), (2.933102, 802), (15.051894, 804)):
        assert _on_leaderboard(Score("win_rate", value, n))
        assert not _on_leaderboard(Score("win_rate", value, n + 1))
        assert not _on_leaderboard(Score("win_rate", value + 0.001, n))
    imported = {s.key: s for s in scores(rows, length_control_data=str(folder), bootstrap=0)}
    assert imported["length_controlled_win_rate"].value == pytest.approx(6.478, abs=0.2)
    recorded = recorded_results(tmp_path / "renamed.json", str(folder)).scores()
    assert recorded[2].value == found["length_controlled_win_rate"]


def test_the_packages_number_of_reordered_rows_is_beside_the_right_one(
    shared: Path, tmp_path: Path
) -> None:
    folder = shared / "data" / "alpaca_eval"
    rows = read_annotations(folder / "claude-2.annotations.json.gz")
    write_annotations(tmp_path / "reversed.json", rows[:0:-1])
    found = report(tmp_path / "reversed.json", str(folder), bootstrap=0)
    assert found["length_controlled_win_rate"] == pytest.approx(28.155, abs=0.2)
    assert abs(found["length_controlled_win_rate_by_row"] - 28.155) > 1


def test_annotations_without_generators_are_read_and_named_by_an_option(shared: Path) -> None:
    path = shared / "cases" / "alpaca_annotations_without_generator.json"
    found = report(path, None)
    assert (found["win_rate"], found["model"], found["reference"]) == (50.0, None, None)
    named = report(path, None, model="mine", reference="theirs")
    assert (named["model"], named["reference"]) == ("mine", "theirs")
    assert recorded_results(path, None).model == "alpaca_annotations_without_generator"
    assert recorded_results(path, None, model="mine").model == "mine"


def test_absent_names_stay_absent_in_a_file_of_ours(tmp_path: Path, shared: Path) -> None:
    rows = read_annotations(shared / "cases" / "alpaca_annotations_without_generator.json")
    write_annotations(tmp_path / "a.json", rows)
    assert json.loads((tmp_path / "a.json").read_text())[0]["generator_2"] is None
    assert read_annotations(tmp_path / "a.json") == rows


def test_a_row_that_is_missing_shifts_nobody_elses_difficulty(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data" / "alpaca_eval"
    rows = read_annotations(folder / "claude-2.annotations.json.gz")
    write_annotations(tmp_path / "less.json", rows[:10] + rows[11:])
    found = report(tmp_path / "less.json", str(folder), bootstrap=0)
    # Whole: 28.155. One row less cannot move it by more than a few hundredths; by row it is 34.3.
    assert found["length_controlled_win_rate"] == pytest.approx(28.155, abs=0.2)
    assert found["length_controlled_win_rate_by_row"] > 33
    assert found["length_control_note"].endswith("by instruction is right")


def test_a_truncated_run_is_reported_with_what_it_lacks(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data" / "alpaca_eval"
    rows = read_annotations(folder / "claude-2.annotations.json.gz")[:650]
    write_annotations(tmp_path / "cut.json", rows)
    found = report(tmp_path / "cut.json", None, bootstrap=0)
    assert (found["n"], found["n_missing"], found["n_absent"]) == (650, 155, 155)


def invented() -> list[Annotation]:
    return [
        annotation(f"q{k}", 1.7 if k % 3 else 1.2, output_1="r" * 99, output_2="m" * (10 + k))
        for k in range(200)
    ]


def test_the_scores_of_a_run_name_the_variant_and_count_what_is_missing() -> None:
    found = scores([*invented(), annotation("x", None)], length_control_data=None, bootstrap=20)
    assert [score.key for score in found] == KEYS
    assert [(score.n, score.missing) for score in found[:3]] == [(200, 1)] * 3
    controlled = found[2]
    assert controlled.detail is not None and controlled.detail["variant"] == "length_only"
    assert controlled.value is not None and controlled.reason is None
    assert controlled.low is not None and controlled.high is not None
    assert controlled.low <= controlled.value <= controlled.high


def test_a_length_controlled_score_that_cannot_be_computed_is_none_with_the_reason(
    tmp_path: Path,
) -> None:
    rows = [annotation(f"q{k}", 1.0 + k % 2) for k in range(6)]
    controlled = scores(rows, length_control_data=None)[2]
    assert (controlled.value, controlled.n) == (None, 6)
    assert controlled.reason == "6 prompts: a fit on lengths alone needs at least 200"
    write_annotations(tmp_path / "rows.json", rows)
    found = report(tmp_path / "rows.json", None)
    assert found["length_controlled_win_rate"] is None
    assert found["length_control_note"] == controlled.reason
    assert found["n_absent"] == 0  # another prompt set: nobody knows what it lacks
    json.dumps(found, allow_nan=False)


def test_nothing_annotated_gives_scores_without_values() -> None:
    for rows in ([], [annotation("a", None)]):
        found = scores(rows, length_control_data=None)
        assert [score.key for score in found] == KEYS
        assert [score.value for score in found[:3]] == [None] * 3
        assert all(score.reason for score in found[:3])


def test_with_tags_the_win_rate_is_broken_down_too() -> None:
    rows = invented()
    tags = [Tag(instruction_key("q0"), "Philosophy / Ethics", 4, "1 sentence", None, "")]
    found = {s.key: s for s in scores(rows, length_control_data=None, bootstrap=0, tags=tags)}
    assert found["win_rate/category/Philosophy / Ethics"].value == pytest.approx(20)
    assert found["win_rate/category/untagged"].n == 199
    assert found["win_rate/complexity/3-4"].n == 1


def test_judges_are_never_mixed_in_one_table() -> None:
    rows = [annotation("a", 1.0), annotation("b", 2.0, annotator="another judge")]
    with pytest.raises(DataError, match="different values of annotator"):
        scores(rows, length_control_data=None)
