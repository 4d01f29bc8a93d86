from __future__ import annotations

import random
import statistics

import pytest

from core.errors import DataError
from core.records import Score, TurnJudgment
from evaluation.mt_bench.scores import Spread, repeats, scores, spread

KEYS = [
    "overall", "turn_1", "turn_2", "math_coding_reasoning", "rest",
    "category/writing", "category/roleplay", "category/reasoning", "category/math",
    "category/coding", "category/extraction", "category/stem", "category/humanities",
    "judge_noise",
]  # fmt: skip


def grade(
    question: int,
    turn: int,
    score: float | None,
    *,
    category: str = "writing",
    draw: int = 0,
    judge: str = "gpt-4",
    model: str = "M1",
    prompt: str = "",
    unparsed: str = "no_score",
) -> TurnJudgment:
    """Return a judgment; a score of None could not be read."""
    return TurnJudgment(
        f"{model}/{question}/t{turn}/j{draw}",
        question,
        category,
        turn,
        draw,
        model,
        judge,
        "single-v1",
        prompt or f"{question}/{turn}",
        "",
        score,
        None if score is not None else unparsed,
    )


def scored(judgments: list[TurnJudgment]) -> dict[str, Score]:
    return {score.key: score for score in scores(judgments)}


EXAMPLE = [
    grade(81, 1, 9.0),
    grade(81, 2, 8.0),
    grade(82, 1, 7.0),
    grade(82, 2, None),
    grade(111, 1, 2.0, category="math"),
    grade(111, 2, 1.0, category="math"),
    grade(121, 1, 4.0, category="coding"),
    grade(121, 2, None, category="coding", unparsed="failed"),
]


def test_the_scores_have_these_keys_in_this_order() -> None:
    assert [score.key for score in scores(EXAMPLE)] == KEYS
    assert [score.key for score in scores([])] == KEYS


def test_every_number_is_the_mean_over_the_judgments_it_names() -> None:
    found = {key: (s.value, s.n, s.missing) for key, s in scored(EXAMPLE).items()}
    assert found == {
        # 9 + 8 + 7 + 2 + 1 + 4 = 31 over 6.
        "overall": (pytest.approx(31 / 6), 6, 2),
        "turn_1": (22 / 4, 4, 0),  # 9 + 7 + 2 + 4
        "turn_2": (9 / 2, 2, 2),  # 8 + 1
        "math_coding_reasoning": (pytest.approx(7 / 3), 3, 1),  # 2 + 1 + 4
        "rest": (8.0, 3, 1),  # 9 + 8 + 7
        "category/writing": (8.0, 3, 1),
        "category/math": (1.5, 2, 0),
        "category/coding": (4.0, 1, 1),
        **{f"category/{c}": (None, 0, 0) for c in ("roleplay", "reasoning", "extraction")},
        **{f"category/{c}": (None, 0, 0) for c in ("stem", "humanities")},
        "judge_noise": (None, 0, 0),
    }


def test_the_overall_is_a_mean_of_judgments_and_not_of_the_turns_means() -> None:
    # (5.5 + 4.5) / 2 = 5 would be the mean of means.
    assert scored(EXAMPLE)["overall"].value != pytest.approx(5.0)


def test_what_has_no_score_is_left_out_of_the_mean_and_counted_with_its_reason() -> None:
    overall = scored(EXAMPLE)["overall"]
    assert overall.value != pytest.approx((31 - 2) / 8)  # FastChat's −1 as if it were a score
    assert overall.value != pytest.approx(31 / 8)  # ... or as zero
    assert overall.detail is not None
    assert overall.detail["unparsed"] == {"failed": 1, "no_score": 1}


@pytest.mark.parametrize("value", [1.0, 10.0])
def test_all_equal_scores_of_few_questions_are_not_certain(value: float) -> None:
    found = scored([grade(n, t, value) for n in (81, 82, 83) for t in (1, 2)])["overall"]
    assert (found.value, found.stderr) == (value, 0.0)
    # As if three questions were each a 1 or a 10: Wilson's z²/(3 + z²) = 56.15 % of nine points.
    low, high = (1.0, 1 + 9 * 0.5615) if value == 1 else (10 - 9 * 0.5615, 10.0)
    assert found.low == pytest.approx(low, abs=1e-3)
    assert found.high == pytest.approx(high, abs=1e-3)


def test_grades_that_vary_have_about_the_interval_of_their_clustered_error() -> None:
    # A category of the paper: ten questions, two turns, grades with a deviation of about two.
    rng = random.Random(5)
    found = scored(
        [grade(n, t, float(min(10, max(1, round(rng.gauss(6, 2)))))) for n in range(81, 161)
         for t in (1, 2)]
    )["overall"]  # fmt: skip
    assert found.low is not None and found.high is not None and found.stderr is not None
    assert found.high - found.low == pytest.approx(2 * 1.99 * found.stderr, rel=0.12)


def test_nothing_judged_and_nothing_readable_have_no_value_and_say_why() -> None:
    assert scored([])["overall"].reason == "nothing was judged"
    found = scored([grade(81, 1, None), grade(81, 2, None)])["overall"]
    assert (found.value, found.n, found.missing) == (None, 0, 2)
    assert found.reason == "no judgment has a score"


def test_one_question_says_nearly_nothing() -> None:
    found = scored([grade(81, 1, 4.0), grade(81, 2, 6.0)])["overall"]
    assert (found.value, found.n, found.stderr) == (5.0, 2, None)
    assert found.low is not None and found.low < 2
    assert found.high is not None and found.high > 8


def test_two_turns_of_a_question_are_one_cluster() -> None:
    # Turn 2 always gets turn 1's score: twice the rows, not twice the evidence.
    rng = random.Random(3)
    once = [grade(n, 1, float(rng.randint(1, 10))) for n in range(81, 111)]
    twice = once + [grade(j.question_id, 2, j.score) for j in once]
    alone, both = scored(once)["overall"], scored(twice)["overall"]
    assert alone.value == both.value
    assert alone.low == pytest.approx(both.low)
    assert alone.high == pytest.approx(both.high)
    assert alone.stderr == pytest.approx(both.stderr)
    # Turns as questions of their own would look 1/sqrt(2) as wide.
    apart = once + [grade(j.question_id + 1000, 1, j.score) for j in once]
    wrong = scored(apart)["overall"]
    assert wrong.low and wrong.high and both.low and both.high
    assert (wrong.high - wrong.low) / (both.high - both.low) == pytest.approx(0.707, abs=0.1)


def test_one_table_has_one_judge_and_one_model() -> None:
    with pytest.raises(DataError, match=r"more than one judge \(gpt-4, gpt-4-0613\)"):
        scores([grade(81, 1, 5.0), grade(81, 2, 5.0, judge="gpt-4-0613")])
    with pytest.raises(DataError, match=r"more than one model \(M1, M2\)"):
        scores([grade(81, 1, 5.0), grade(81, 2, 5.0, model="M2")])


def test_a_turn_judged_twice_counts_twice_and_is_named() -> None:
    judgments = [grade(81, 1, 4.0), grade(81, 1, 8.0, draw=1), grade(82, 1, 9.0)]
    found = scored(judgments)["overall"]
    assert (found.value, found.n) == (7.0, 3)  # not ((4 + 8) / 2 + 9) / 2 = 7.5
    assert repeats(judgments) == ["81/t1"]
    assert found.detail is not None and found.detail["judged_again"] == 1
    assert repeats([grade(81, 1, 4.0), grade(81, 2, 4.0), grade(81, 1, 4.0, model="M2")]) == []


def test_the_spread_of_three_draws() -> None:
    # Turn 1: 4, 6, 8, deviation sqrt((4 + 0 + 4) / 2) = 2. Turn 2: 5, 5, 5, deviation 0. Mean 1.
    # Draws: (4 + 5) / 2 = 4.5, 5.5, 6.5, deviation sqrt((1 + 0 + 1) / 2) = 1.
    judgments = [grade(81, 1, 4.0 + 2 * d, draw=d) for d in range(3)]
    judgments += [grade(81, 2, 5.0, draw=d) for d in range(3)]
    assert spread(judgments) == Spread(1.0, 1.0, (4.5, 5.5, 6.5))
    detail = scored(judgments)["overall"].detail
    assert detail is not None
    assert (detail["turn_sd"], detail["overall_sd"]) == (1.0, 1.0)
    assert detail["overall_by_draw"] == [4.5, 5.5, 6.5]


def test_a_judge_that_repeats_itself_has_a_spread_of_zero() -> None:
    judgments = [grade(n, 1, 3.0 + n % 4, draw=d) for n in (81, 82, 83) for d in range(3)]
    assert spread(judgments)[:2] == (0.0, 0.0)


def test_one_draw_and_nothing_have_no_spread() -> None:
    assert spread([grade(81, 1, 4.0), grade(81, 2, 6.0)]) == Spread(None, None, (5.0,))
    assert spread([]) == Spread(None, None, ())
    assert spread([grade(81, 1, None)]) == Spread(None, None, ())


def test_draws_are_compared_on_the_turns_that_all_of_them_read() -> None:
    # Draw 1 did not read turn 2 (a 10), which must not look like a worse draw: both have 5.
    judgments = [
        grade(81, 1, 5.0),
        grade(81, 1, 5.0, draw=1),
        grade(81, 2, 10.0),
        grade(81, 2, None, draw=1),
    ]
    assert spread(judgments) == Spread(0.0, 0.0, (5.0, 5.0))


def test_other_answers_judged_under_the_same_name_are_no_spread_of_the_judge() -> None:
    judgments = [grade(81, 1, 3.0, prompt="x"), grade(81, 1, 9.0, draw=1, prompt="y")]
    assert spread(judgments) == Spread(None, None, (3.0, 9.0))


def test_the_standard_error_of_single_judgments_is_the_usual_one() -> None:
    values = [3.0, 7.0, 8.0, 10.0, 2.0]
    found = scored([grade(n, 1, v) for n, v in enumerate(values, start=81)])["overall"]
    assert found.stderr == pytest.approx(statistics.stdev(values) / 5**0.5)
