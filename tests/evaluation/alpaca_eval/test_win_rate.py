from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.alpaca_eval.annotator import AnswerPair, PackageAnnotator, package_contained
from evaluation.alpaca_eval.files import read_annotations
from evaluation.alpaca_eval.scores import average_lengths, discrete_win_rate, win_rate
from judges.asking import Reply
from tests.evaluation.alpaca import annotation

if TYPE_CHECKING:
    from pathlib import Path

    from core.records import Annotation

# File: raw win rate of the recorded annotations (MANIFEST.md), rows, and, from the leaderboard of
# 2024-01-17, standard error, discrete win rate and mean length (cut to whole characters). The
# leaderboard's text_davinci_001 was made with all 805 rows; the recorded file has 803.
RECORDED = {
    "alpaca-7b": (2.591451, 805, 0.4870855, 2.2981366, 396),
    "humpback-llama2-70b": (10.121772, 805, 0.9401806, 9.6273292, 1107),
    "claude-2": (17.188240, 805, 1.1748283, 16.3354037, 1069),
    "text_davinci_001": (2.764005, 803, None, None, None),
}


def recorded(shared: Path, name: str) -> list[Annotation]:
    return read_annotations(shared / "data" / "alpaca_eval" / f"{name}.annotations.json.gz")


def rows(*preferences: float | None) -> list[Annotation]:
    return [annotation(f"instruction {n}", p) for n, p in enumerate(preferences)]


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_annotations_give_the_published_numbers(name: str, shared: Path) -> None:
    value, n, stderr, discrete, length = RECORDED[name]
    found = recorded(shared, name)
    assert win_rate(found).value == pytest.approx(value, abs=1e-6)
    assert (win_rate(found).n, win_rate(found).missing) == (n, 0)
    if stderr is not None:
        assert win_rate(found).stderr == pytest.approx(stderr, abs=1e-6)
        assert discrete_win_rate(found).value == pytest.approx(discrete, abs=1e-6)
        assert int(average_lengths(found)[0].value or 0) == length


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_annotations_give_what_the_package_says(name: str, shared: Path) -> None:
    found = recorded(shared, name)
    with package_contained():
        from alpaca_eval.metrics.winrate import get_winrate

        theirs = get_winrate([{"preference": row.preference} for row in found])
    ours = win_rate(found)
    assert ours.value == pytest.approx(theirs["win_rate"], abs=1e-9)
    assert ours.stderr == pytest.approx(theirs["standard_error"], abs=1e-9)
    assert discrete_win_rate(found).value == pytest.approx(theirs["discrete_win_rate"], abs=1e-9)
    detail = {"wins": theirs["n_wins"], "losses": theirs["n_wins_base"], "draws": theirs["n_draws"]}
    assert ours.detail == detail


@pytest.mark.parametrize("name", RECORDED)
def test_every_recorded_preference_follows_from_its_log_probabilities_and_order(
    name: str, shared: Path
) -> None:
    import json

    without_request = 0
    for row in recorded(shared, name):
        if not row.raw_completion:  # identical outputs: nothing was asked
            without_request += 1
            assert row.output_1 == row.output_2
            assert row.preference == 1.5
            continue
        top = json.loads(row.raw_completion)["logprobs"]["content"][0]["top_logprobs"]
        found = {token["token"]: math.exp(token["logprob"]) for token in top}
        first = found.get("m", 0.0)  # two of text_davinci_001's rows lack "m" among the first five
        preference = 2 - first / (first + found.get("M", 0.0))
        seed = "is_switched_outputs" + row.instruction + "0"
        switched = random.Random(seed).choices([False, True])[0]
        # Recorded to ten decimals.
        assert row.preference == pytest.approx(3 - preference if switched else preference, abs=1e-9)
    expected = {"alpaca-7b": 3, "humpback-llama2-70b": 0, "claude-2": 1, "text_davinci_001": 3}
    assert without_request == expected[name]


def test_recorded_replies_read_by_our_annotator_give_the_recorded_preferences(
    shared: Path,
) -> None:
    import json

    found = [row for row in recorded(shared, "text_davinci_001")[:200] if row.raw_completion]
    rules = PackageAnnotator("weighted_alpaca_eval_gpt4_turbo")
    rules.asks([AnswerPair(r.key, r.instruction, r.output_1, r.output_2) for r in found])
    for row in found:
        said = json.loads(row.raw_completion)
        reply = Reply(row.key, said["message"]["content"], "length", logprobs=said["logprobs"])
        assert rules.read(reply).preference == pytest.approx(row.preference, abs=1e-9)


def test_perfect_worst_and_chance() -> None:
    assert win_rate(rows(2.0, 2.0)).value == 100
    assert win_rate(rows(1.0, 1.0)).value == 0
    assert win_rate(rows(1.5, 1.5)).value == 50
    assert discrete_win_rate(rows(1.9, 1.6)).value == 100
    assert discrete_win_rate(rows(1.4, 1.1)).value == 0
    assert discrete_win_rate(rows(1.9, 1.1)).value == 50


def test_values_derived_by_hand() -> None:
    # Wins 0.2, 0.9, 0.5: mean 1.6/3. Variance: ((-1/3)² + (11/30)² + (-1/30)²)/2 = 37/300, so the
    # error is √(37/300/3). Discrete: 0, 1, 0.5.
    score = win_rate(rows(1.2, 1.9, 1.5))
    assert score.value == pytest.approx(160 / 3)
    assert score.stderr == pytest.approx(100 * math.sqrt(37 / 900))
    # Poisson's ends: gamma distributions of shape 1.6 and 1.4 have 5 % below 0.20808 and 0.14593.
    assert (score.low, score.high) == pytest.approx((6.936, 95.136), abs=1e-3)
    assert score.detail == {"wins": 1, "losses": 1, "draws": 1}
    assert discrete_win_rate(rows(1.2, 1.9, 1.5)).value == 50


def test_a_preference_of_0_is_a_draw() -> None:
    assert win_rate(rows(0.0, 2.0)).value == 75
    assert discrete_win_rate(rows(0.0, 1.2)).value == 25
    assert win_rate(rows(0.0)).detail == {"wins": 0, "losses": 0, "draws": 1}


def test_a_missing_preference_lowers_n_and_is_no_loss() -> None:
    found = [*rows(2.0, 2.0, None), annotation("refused", None, missing="refused")]
    score = win_rate(found)
    assert (score.value, score.n, score.missing) == (100, 2, 2)
    assert score.detail is not None
    assert (score.detail["missing_unparsed"], score.detail["missing_refused"]) == (1, 1)
    assert discrete_win_rate(found).missing == 2


def test_nothing_annotated_has_no_win_rate() -> None:
    for found in ([], rows(None)):
        score = win_rate(found)
        assert (score.value, score.n, score.missing) == (None, 0, len(found))
        assert score.reason == "no annotation has a preference"
        assert discrete_win_rate(found).value is None
    assert [score.value for score in average_lengths([])] == [None, None]


def test_eight_losses_are_not_certain() -> None:
    # Wilson, 0 of 8: 0 to z²/(8 + z²). A normal interval says 0 to 0.
    for score in (win_rate(rows(*[1.0] * 8)), discrete_win_rate(rows(*[1.0] * 8))):
        assert (score.value, score.low) == (0, 0)
        assert score.high == pytest.approx(32.4408, abs=1e-4)
        assert score.stderr == 0  # the package's


def test_one_annotation_says_nearly_nothing() -> None:
    score = win_rate(rows(1.25))
    assert (score.value, score.n, score.stderr) == (25, 1, None)
    assert score.low is not None and score.low < 1
    assert score.high is not None and score.high > 80


def test_lengths_are_characters_and_leave_out_what_is_absent() -> None:
    found = [
        annotation("a", 1.0, output_1="four", output_2="né"),
        annotation("b", None, output_1="12", output_2="12345678"),  # unparsed: its answer is there
        annotation("c", None, output_1="123456", output_2="", missing="no_answer"),
        annotation("d", None, output_1="", output_2="12", missing="no_reference"),
    ]
    model, reference = average_lengths(found)
    assert (model.key, model.value, model.n, model.missing) == ("avg_length", 4, 3, 1)
    assert (reference.value, reference.n) == (4, 3)


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.just(0.0), st.floats(1, 2, allow_nan=False)), max_size=30))
def test_win_rates_stay_in_range_and_every_row_is_counted_once(
    preferences: list[float | None],
) -> None:
    found = rows(*preferences)
    for score in (win_rate(found), discrete_win_rate(found)):
        assert score.n + score.missing == len(found)
        if score.value is not None:
            assert -1e-9 <= score.value <= 100 + 1e-9
        if score.low is not None and score.high is not None and score.value is not None:
            assert 0 <= score.low <= score.value + 1e-9
            assert score.value - 1e-9 <= score.high <= 100
