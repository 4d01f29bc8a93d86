from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from core.records import Generation, Score
from core.stages import Stage, evaluation_ref
from reports.sections import SECTIONS, head_to_head, lengths, mt_bench
from reports.sections import drawing as points
from reports.sections.alpaca_eval import by_tag as breakdown
from reports.sections.alpaca_eval import win_rates as alpaca_eval
from reports.sections.nlp import alignment_tax as nlp
from tests.reports.runs import RunBuilder, imported, score

if TYPE_CHECKING:
    from pathlib import Path

    from reports.document import Figure

TEXT = "{http://www.w3.org/2000/svg}text"


def texts(figure: Figure | None) -> list[str]:
    assert figure is not None
    return [node.text or "" for node in ET.fromstring(figure.svg).iter(TEXT)]


def places(figure: Figure | None) -> dict[str, tuple[float, float]]:
    """Return where each text stands: x and y, y growing downwards."""
    assert figure is not None
    found = {}
    for node in ET.fromstring(figure.svg).iter(TEXT):
        found[node.text or ""] = float(node.get("x", 0)), float(node.get("y", 0))
    return found


def verdicts(win: float, tie: float, lose: float, missing: int = 0) -> list[Score]:
    values = {"win": win, "tie": tie, "lose": lose}
    return [score(name, value, 256, missing) for name, value in values.items()]


def test_a_run_without_results_has_no_figures(tmp_path: Path) -> None:
    results = RunBuilder(tmp_path).open()
    found = [section for source in SECTIONS for section in source.build(results)]
    assert [section.key for section in found if section.figures] == []


def test_each_figure_is_named_as_it_is_listed(tmp_path: Path) -> None:
    built = RunBuilder(tmp_path).scores("head_to_head/M2-M1", *verdicts(50, 25, 25))
    (section,) = head_to_head.SECTION.build(built.open())
    (found,) = section.figures
    assert (found.key, found.origin) == ("head_to_head", "Figure 3")


def test_bars_show_the_paper_s_numbers_with_what_they_rest_on(tmp_path: Path) -> None:
    # Figure 3 of the paper, M3 against the SFT baseline and M2 against M1.
    built = RunBuilder(tmp_path).scores("head_to_head/M3-sft", *verdicts(62.5, 27.7, 9.8))
    built.scores("head_to_head/M2-M1", *verdicts(55.5, 32.8, 11.7, missing=3))
    found = head_to_head.figure(built.open())
    said = texts(found)
    assert {"62.5", "27.7", "9.8", "55.5", "32.8", "11.7"} <= set(said)
    assert {"M3 vs SFT (n = 256)", "M2 vs M1 (n = 256 + 3 unread)"} <= set(said)
    assert found is not None
    assert "M3 against SFT: 62.5 % won, 27.7 % tied, 9.8 % lost (n = 256)." in found.description


def test_wins_stand_left_of_ties_and_losses(tmp_path: Path) -> None:
    built = RunBuilder(tmp_path).scores("head_to_head/M3-sft", *verdicts(62.5, 27.7, 9.8))
    at = places(head_to_head.figure(built.open()))
    assert at["62.5"][0] < at["27.7"][0] < at["9.8"][0]
    # In the middle of its part: the axis runs from x("0") to x("100").
    zero, hundred = at["0"][0], at["100"][0]
    assert at["62.5"][0] == pytest.approx(zero + (hundred - zero) * 0.3125, abs=0.01)
    assert at["9.8"][0] == pytest.approx(zero + (hundred - zero) * 0.951, abs=0.01)


def test_a_part_too_narrow_for_its_number_has_none(tmp_path: Path) -> None:
    built = RunBuilder(tmp_path).scores("head_to_head/M3-sft", *verdicts(95.4, 2.3, 2.3))
    assert "2.3" not in texts(head_to_head.figure(built.open()))


def test_a_matchup_without_a_verdict_is_left_out_and_no_bar_of_length_0(tmp_path: Path) -> None:
    built = RunBuilder(tmp_path).scores("head_to_head/M2-M1", *verdicts(50, 25, 25))
    nothing = [Score(name, None, 0, 256, reason="unread") for name in ("win", "tie", "lose")]
    built.scores("head_to_head/M3-M2", *nothing)
    said = " ".join(texts(head_to_head.figure(built.open())))
    assert "M2 vs M1" in said
    assert "M3 vs M2" not in said


def test_both_win_rates_are_told_with_their_intervals(tmp_path: Path) -> None:
    built = RunBuilder(tmp_path)
    built.scores(
        "M1/alpaca_eval",
        score("win_rate", 9.94, 803, 2),
        score("length_controlled_win_rate", 11.5, 803),
    )
    built.scores("M2/alpaca_eval", score("win_rate", 15.38, 805))
    found = alpaca_eval.figure(built.open())
    assert found is not None
    assert (
        "raw win rate in %: M1 9.94 (95 % interval 8.94 to 10.94, n = 803); "
        "M2 15.38 (95 % interval 14.38 to 16.38, n = 805)." in found.description
    )
    # M2 has no length-controlled number: it is absent, not 0.
    told = "length-controlled win rate in %: M1 11.50 (95 % interval 10.50 to 12.50, n = 803)."
    assert found.description.endswith(told)
    assert "n = 803 (+ 2)" in texts(found)


def test_imported_models_have_a_figure_too(tmp_path: Path) -> None:
    built = imported(tmp_path, "claude-2", score("win_rate", 17.19, 805))
    assert "claude-2" in texts(alpaca_eval.figure(built.open()))


def tagged(kind: str, *groups: str) -> list[Score]:
    return [score(f"win_rate/{kind}/{group}", 10.0 + n, 40 + n) for n, group in enumerate(groups)]


@pytest.mark.parametrize(
    ("kind", "ordered"),
    [
        ("complexity", ["1-2", "3-4", "9-10", "untagged"]),
        ("length", ["1 sentence", "1-3 sentences", "1 paragraph", "3 or more paragraphs"]),
    ],
)
def test_groups_go_from_small_to_large(
    tmp_path: Path, kind: breakdown.Kind, ordered: list[str]
) -> None:
    built = RunBuilder(tmp_path).scores("M1/alpaca_eval", *tagged(kind, *reversed(ordered)))
    at = places(breakdown.figure(built.open(), kind))
    assert sorted(ordered, key=lambda name: at[name][0]) == ordered


def test_every_category_shows_how_many_annotations_it_has(tmp_path: Path) -> None:
    built = RunBuilder(tmp_path)
    built.scores("M1/alpaca_eval", *tagged("category", "Cooking", "untagged", "Arts"))
    built.scores("M2/alpaca_eval", *tagged("category", "Arts", "Cooking"))
    at = places(breakdown.figure(built.open(), "category"))
    # Arts: 42 annotations of M1, 40 of M2. By name, what has no tag last.
    names = ["Arts (40–42)", "Cooking (40–41)", "untagged (41)"]
    assert sorted(names, key=lambda name: at[name][1]) == names


def test_without_tags_there_is_no_breakdown(tmp_path: Path) -> None:
    built = RunBuilder(tmp_path).scores("M1/alpaca_eval", score("win_rate", 10.0, 805))
    assert breakdown.figure(built.open(), "category") is None


def test_mt_bench_tells_every_category_and_what_could_not_be_read(tmp_path: Path) -> None:
    # Table 10 of the paper, M3.
    built = RunBuilder(tmp_path).scores(
        "M3/mt_bench",
        score("overall", 7.25, 158, 2),
        score("category/writing", 9.58, 20),
        score("category/math", 3.5, 20),
    )
    found = mt_bench.figure(built.open())
    assert found is not None
    assert "overall 7.25" in found.description
    assert "math 3.50 (95 % interval 2.50 to 4.50, n = 20)" in found.description
    assert "coding" not in found.description
    assert "Judgments without a score: M3 2 of 160." in found.notes


def test_a_model_whose_grades_cannot_be_read_has_no_dots(tmp_path: Path) -> None:
    built = RunBuilder(tmp_path).scores("M1/mt_bench", Score("overall", None, 0, 160, reason="x"))
    assert mt_bench.figure(built.open()) is None


def test_the_alignment_tax_compares_the_items_that_both_answered(tmp_path: Path) -> None:
    headline = {"headline": True, "shots": 0}
    built = RunBuilder(tmp_path)
    for model, right in (("M0", (1, 1, 0, 1)), ("M1", (1, 0, 0))):
        address = f"{model}/nlp/arc_easy"
        built.items(address, {f"arc_easy/{n}": float(v) for n, v in enumerate(right)})
        built.scores(address, Score("acc", 50.0, len(right), detail=headline))
    found = nlp.figure(built.open())
    assert found is not None
    # On items 0, 1, 2: M1 has 1 of 3 and M0 2 of 3, so −33.33; with item 3 it would be −41.67.
    assert "M1: arc_easy −33.33" in found.description
    assert "n = 3" in found.description
    assert "arc_easy (n = 3)" in texts(found)


def test_only_the_headline_metric_is_the_tax(tmp_path: Path) -> None:
    built = RunBuilder(tmp_path)
    for model in ("M0", "M1"):
        built.items(f"{model}/nlp/piqa", {"piqa/0": 1.0}, metric="acc")
        built.scores(
            f"{model}/nlp/piqa", Score("acc", 100.0, 1, detail={"headline": False, "shots": 0})
        )
    assert nlp.figure(built.open()) is None


def answer(key: str, characters: int, finish: str = "stop") -> Generation:
    return Generation(key, key.partition("/")[0], "p", "x" * characters, 1, finish)


def test_lengths_are_of_answers_and_not_of_gaps(tmp_path: Path) -> None:
    ref = evaluation_ref("M1/head_to_head", Stage.ANSWERS)
    rows = [answer("a", 100), answer("b", 300), answer("c", 0, "too_long")]
    built = RunBuilder(tmp_path).rows(ref, rows)
    built.scores("M1/alpaca_eval", Score("avg_length", 1092.0, 805))
    results = built.open()
    found = lengths.mean_characters(results, "M1", "head_to_head")
    assert found is not None
    assert (found.value, found.n) == (200.0, 2)
    # Imported annotations have no answers of their own: the score stands in.
    assert lengths.mean_characters(results, "M1", "alpaca_eval") == (1092.0, None, None, 805)
    assert lengths.mean_characters(results, "M2", "alpaca_eval") is None


def test_two_turns_of_a_question_are_one_observation_of_length(tmp_path: Path) -> None:
    def interval(folder: Path, *rows: Generation) -> tuple[float | None, float | None]:
        ref = evaluation_ref("M1/mt_bench", Stage.ANSWERS)
        results = RunBuilder(folder).rows(ref, rows).open()
        found = lengths.mean_characters(results, "M1", "mt_bench")
        assert found is not None
        return found.low, found.high

    single = [answer(f"q{n}", 100 * n) for n in range(6)]
    twice = [answer(f"q{n}/t{turn}", 100 * n) for n in range(6) for turn in (1, 2)]
    assert interval(tmp_path / "a", *single) == interval(tmp_path / "b", *twice)


def test_a_point_is_said_with_its_interval_or_without() -> None:
    assert str(points.Point(12.5, 8.1, 17.3, 80)) == "12.50 (95 % interval 8.10 to 17.30, n = 80)"
    assert str(points.Point(-0.001, None, None, 1)) == "0.00 (n = 1)"
    assert points.point_of(Score("x", None, 0, 5)) is None
    assert points.sentence("M1", ["a", "b"], [None, None]) == "M1: nothing measured."
