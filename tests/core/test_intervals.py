from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.intervals import (
    Interval,
    average_interval,
    clustered_stderr,
    correlation_interval,
    length_interval,
    mean_interval,
    ratio_interval,
    share_score,
    wilson,
)
from core.records import Score

if TYPE_CHECKING:
    from collections.abc import Sequence

SHARE = (0.0, 1.0)


def width(interval: Interval | None) -> float:
    assert interval is not None
    return interval.high - interval.low


def flips(count: int, seed: int = 1) -> list[float]:
    """Draw that many zeros and ones."""
    rng = random.Random(seed)
    return [float(rng.random() < 0.6) for _ in range(count)]


def test_independent_items_that_are_right_or_wrong_have_wilsons_interval() -> None:
    values = flips(60)
    expected = wilson(sum(values), 60)
    assert expected is not None
    assert mean_interval(values, scale=SHARE) == pytest.approx(expected)
    assert ratio_interval(values, [1.0] * 60) == pytest.approx(expected)
    # In percent the same.
    percent = mean_interval([100 * value for value in values], scale=(0.0, 100.0))
    assert percent == pytest.approx(expected.scaled(100))


def test_rows_said_twice_do_not_narrow_the_interval_when_they_are_one_cluster() -> None:
    values, labels = flips(200), list(range(200))
    once = width(mean_interval(values, labels, scale=SHARE))
    twice = width(mean_interval(values + values, labels + labels, scale=SHARE))
    assert twice == pytest.approx(once)
    # Taken for 400 independent items they would look surer by √2.
    apart = width(mean_interval(values + values, scale=SHARE))
    assert apart == pytest.approx(once / math.sqrt(2), rel=0.02)


def test_items_of_a_cluster_that_have_nothing_in_common_are_nearly_independent() -> None:
    # 200 clusters of four; four assumed clusters of one value each make ρ 4/204: n is 800/1.06.
    values = flips(800, seed=3)
    clustered = width(mean_interval(values, [at % 200 for at in range(800)], scale=SHARE))
    assert clustered == pytest.approx(width(wilson(sum(values), 800)), rel=0.06)


def test_clusters_of_different_sizes_keep_their_weight() -> None:
    # Clusters (1, 1, 1) and (0): the mean is 3/4, not 1/2. All or nothing (ρ = 1): n = 16/(9 + 1).
    values, labels = [1.0, 1.0, 1.0, 0.0], ["a", "a", "a", "b"]
    assert mean_interval(values, labels, scale=SHARE) == pytest.approx(wilson(1.2, 1.6))


def test_equal_values_are_as_uncertain_as_all_or_nothing() -> None:
    # Five clusters of two, all 4 of 0..5: Wilson's interval of 0.8 of five.
    found = mean_interval([4.0] * 10, [at // 2 for at in range(10)], scale=(0.0, 5.0))
    expected = wilson(4, 5)
    assert expected is not None
    assert found == pytest.approx(expected.scaled(5))
    assert clustered_stderr([4.0] * 10) == 0.0


def test_graded_values_are_surer_than_all_or_nothing() -> None:
    # Fifty grades from 4 to 6 of 1..10: about the normal interval, a third of all or nothing's.
    rng = random.Random(0)
    grades = [float(rng.randint(4, 6)) for _ in range(400)]
    error = clustered_stderr(grades)
    assert error is not None
    found = width(mean_interval(grades, scale=(1.0, 10.0)))
    assert 2 * 1.96 * error < found < 1.2 * 2 * 1.96 * error


def test_a_value_outside_its_scale_widens_it() -> None:
    assert mean_interval([0.0, 6.0], scale=(0.0, 5.0)) == mean_interval(
        [0.0, 6.0], scale=(0.0, 6.0)
    )


def test_nothing_has_no_interval() -> None:
    assert mean_interval([], [], scale=SHARE) is None
    assert ratio_interval([0.0], [0.0]) is None
    assert length_interval([]) is None
    assert average_interval([], [], None) is None
    assert clustered_stderr([]) is None
    assert clustered_stderr([1.0, 0.0], ["a", "a"]) is None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_refused_and_never_comes_out(bad: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        mean_interval([1.0, bad, 0.0], scale=SHARE)
    with pytest.raises(ValueError, match="not finite"):
        clustered_stderr([1.0, bad, 0.0])
    with pytest.raises(ValueError, match="not finite"):
        correlation_interval([1, 2, 3, 4], lambda _: bad)


def test_labels_and_values_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="3 values but 2 cluster labels"):
        mean_interval([1.0, 1.0, 0.0], ["a", "b"], scale=SHARE)
    with pytest.raises(ValueError, match="per cluster"):
        ratio_interval([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="per cluster"):
        ratio_interval([3.0], [2.0])


def test_clusters_without_anything_to_compare_are_left_out_of_a_ratio() -> None:
    above, below = [1.0, 2.0, 0.0, 3.0], [2.0, 2.0, 1.0, 3.0]
    assert ratio_interval([*above, 0.0], [*below, 0.0]) == ratio_interval(above, below)


def test_the_average_of_tasks_at_0_or_100_percent_is_not_certain() -> None:
    # Standard error 0. Three tasks of five items weigh like 15 items: Wilson's 0 of 15.
    assert average_interval([0.0] * 3, [5] * 3, 0.0) == pytest.approx(wilson(0, 15))
    # One right, one wrong task of five: half of ten.
    assert average_interval([0.0, 1.0], [5, 5], 0.0) == pytest.approx(wilson(5, 10))
    # A task of few items among large ones decides: 4/(1/5 + 1/1000) items.
    assert average_interval([0.5, 0.5], [5, 1000], None) == pytest.approx(
        wilson(0.5 * 4 / 0.201, 4 / 0.201)
    )


def test_the_average_is_no_surer_than_its_standard_error() -> None:
    # Error 0.1 at 0.5: as of 25 items, though there are 2,000.
    assert average_interval([0.5, 0.5], [1000, 1000], 0.1) == pytest.approx(wilson(12.5, 25))


def test_the_interval_of_a_mean_length_is_skewed_as_lengths_are() -> None:
    # 100, 200, 300: 3/4 · (2·100² + 2·100²)/3² is 57.74²; t of two degrees 4.3027:
    # exp(4.3027·0.28868).
    found = length_interval([100, 200, 300])
    factor = math.exp(4.302653 * math.sqrt(30000) / 3 / 200)
    assert found == pytest.approx((200 / factor, 200 * factor), rel=1e-6)


def test_equal_lengths_leave_nothing_to_estimate_an_error_from() -> None:
    assert length_interval([512.0] * 20) is None
    assert length_interval([512.0, 100.0], ["a", "a"]) is None


def correlation(rows: Sequence[tuple[float, float]]) -> float | None:
    x, y = zip(*rows, strict=True)
    return float(np.corrcoef(x, y)[0, 1]) if len(set(x)) > 1 and len(set(y)) > 1 else None


def test_the_interval_of_a_correlation_agrees_with_fishers_for_many() -> None:
    # 400 normal pairs with r about 0.6: on Fisher's scale 1/√397 each way, that of Spearman a bit
    # wider.
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    rows = list(zip(x.tolist(), (0.6 * x + 0.8 * rng.normal(size=400)).tolist(), strict=True))
    found, value = correlation_interval(rows, correlation), correlation(rows)
    assert found is not None and value is not None
    half = (math.atanh(found.high) - math.atanh(found.low)) / 2
    assert half == pytest.approx(1.96 / math.sqrt(397), rel=0.12)
    assert found.low < value < found.high


def test_a_perfect_correlation_of_few_is_not_certain() -> None:
    found = correlation_interval([(float(n), float(n)) for n in range(6)], correlation)
    assert found is not None
    assert found.high == pytest.approx(1.0)
    assert found.low < 0.75
    assert correlation_interval([(float(n), float(n)) for n in range(3)], correlation) is None


def test_a_correlation_that_one_cluster_decides_has_no_interval() -> None:
    rows = [(1.0, 0.0), (2.0, 0.0), (3.0, 0.0), (4.0, 5.0)]
    assert correlation(rows) is not None
    assert correlation_interval(rows, correlation) is None


def test_wilson_gives_the_textbook_values() -> None:
    # 7 of 10, z = 1.95996: middle (0.7 + 0.192073)/1.384146 = 0.644493, half 1.415998·√(0.021 +
    # 0.009604)= 0.247716 -> (0.3968, 0.8922) (Brown, Cai, DasGupta).
    interval = wilson(7, 10)
    assert interval is not None
    assert interval.low == pytest.approx(0.396778, abs=1e-5)
    assert interval.high == pytest.approx(0.892209, abs=1e-5)


def test_one_or_two_successes_have_poissons_lower_end() -> None:
    # One or more with probability 5 %: a mean of −ln 0.95 = 0.05129. Wilson's own lower end for 1
    # of 5 is 0.0362, above a share of 3 %, which gives one or more of five in 14 % of samples.
    one = wilson(1, 5)
    assert one is not None and one.low == pytest.approx(0.051293 / 5, abs=1e-6)
    # 1 − e^−m (1 + m) = 0.05: m = 0.35536.
    two = wilson(48, 50)
    assert two is not None and two.high == pytest.approx(1 - 0.355362 / 50, abs=1e-6)
    # Three have Wilson's: (0.06 + 0.038415)/1.076829 − 1.820122·√(0.001128 + 0.000384).
    three = wilson(3, 50)
    assert three is not None and three.low == pytest.approx(0.020617, abs=1e-5)


def test_wilson_has_a_width_at_the_ends_and_nothing_to_say_of_nothing() -> None:
    # 0 of n: (0, z²/(n + z²)); z² = 3.8415.
    none = wilson(0, 20)
    assert none is not None and none.low == 0.0
    assert none.high == pytest.approx(3.841459 / 23.841459, abs=1e-6)
    every = wilson(20, 20)
    assert every is not None and every.high == 1.0
    assert every.low == pytest.approx(1 - none.high)
    assert wilson(0, 0) is None
    with pytest.raises(ValueError, match="3 successes of 2"):
        wilson(3, 2)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_contains_the_share_and_stays_inside_0_and_1(case: tuple[int, int]) -> None:
    successes, n = case
    interval = wilson(successes, n)
    assert interval is not None
    assert 0 <= interval.low <= successes / n + 1e-12
    assert successes / n - 1e-12 <= interval.high <= 1


def test_the_standard_error_of_single_items_is_the_usual_one() -> None:
    # (1, 2, 3, 4): s² = 5/3, s/√4 = 0.6455.
    assert clustered_stderr([1.0, 2.0, 3.0, 4.0]) == pytest.approx(math.sqrt(5 / 3 / 4))


def test_the_clustered_standard_error_is_the_sandwich() -> None:
    # Mean 2.5; clusters (1, 2) and (3, 4) deviate by -1.5 - 0.5 = -2 and +2.
    # √(2/1 · (4 + 4)) / 4 = 1.
    assert clustered_stderr([1.0, 2.0, 3.0, 4.0], ["a", "a", "b", "b"]) == pytest.approx(1.0)
    # Opposite turns in each cluster cancel: (1, 4) and (2, 3) both deviate by 0.
    assert clustered_stderr([1.0, 4.0, 2.0, 3.0], ["a", "a", "b", "b"]) == pytest.approx(0.0)


def test_repeated_rows_in_their_clusters_leave_the_standard_error_alone() -> None:
    values = flips(30)
    labels = list(range(30))
    once = clustered_stderr(values)
    assert once is not None
    assert clustered_stderr(values * 2, labels * 2) == pytest.approx(once)
    alone = clustered_stderr(values * 2)
    assert alone is not None and alone < 0.75 * once  # what taking them for 60 items would claim


def test_a_share_as_a_score_is_scaled_with_its_interval() -> None:
    low, high = wilson(8, 10) or (None, None)
    found = share_score("x", 8, 10, 2, scale=1.0)
    assert found == Score("x", 0.8, 10, 2, low, high)
    assert share_score("x", 8, 10).value == 80.0
    assert share_score("x", 0, 0, 3, reason="nothing") == Score("x", None, 0, 3, reason="nothing")
