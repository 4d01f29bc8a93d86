from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence
from statistics import stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.intervals import (
    Interval,
    bootstrap,
    bootstrap_mean,
    bootstrap_ratio,
    clustered_stderr,
    share_score,
    wilson,
)
from core.records import Score


def width(interval: Interval | None) -> float:
    assert interval is not None
    return interval.high - interval.low


def flips(count: int, seed: int = 1) -> list[float]:
    """Draw that many zeros and ones."""
    rng = random.Random(seed)
    return [float(rng.random() < 0.6) for _ in range(count)]


def test_the_bootstrap_of_a_mean_agrees_with_the_normal_approximation() -> None:
    # 400 items: s/√n with 1.96 on both sides; the percentile bootstrap is within a tenth of it.
    values = flips(400)
    interval = bootstrap_mean(values, seed=0)
    assert interval is not None
    mean, half = sum(values) / 400, 1.96 * stdev(values) / 20
    assert interval.low == pytest.approx(mean - half, abs=half / 10)
    assert interval.high == pytest.approx(mean + half, abs=half / 10)


def test_both_ends_leave_out_equal_shares_of_the_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two items, 0 and 1: resampled means are 0, 0.5 and 1 in shares of 1/4, 1/2 and 1/4. A level of
    # 0.4 lies between the quantiles 0.3 and 0.7, inside the half; 0.6 between 0.2 and 0.8, outside.
    monkeypatch.setattr("core.intervals._LEVEL", 0.4)
    assert bootstrap_mean([0.0, 1.0], seed=0) == Interval(0.5, 0.5)
    monkeypatch.setattr("core.intervals._LEVEL", 0.6)
    assert bootstrap_mean([0.0, 1.0], seed=0) == Interval(0.0, 1.0)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    values = [random.Random(0).gauss(0, 1) for _ in range(50)] + flips(50)
    assert bootstrap_mean(values, seed=3) == bootstrap_mean(values, seed=3)
    assert bootstrap_mean(values, seed=3) != bootstrap_mean(values, seed=4)


def test_resampling_in_chunks_covers_the_mean_too() -> None:
    # 2,000 resamples of 5,000 items do not fit in one chunk.
    values = flips(5000)
    interval = bootstrap_mean(values, seed=0)
    mean = sum(values) / 5000
    assert width(interval) == pytest.approx(2 * 1.96 * math.sqrt(mean * (1 - mean) / 5000), rel=0.1)


def test_rows_said_twice_do_not_narrow_the_interval_when_they_are_one_cluster() -> None:
    values, labels = flips(200), list(range(200))
    once = width(bootstrap_mean(values, labels, seed=0))
    twice = width(bootstrap_mean(values + values, labels + labels, seed=0))
    assert twice == pytest.approx(once)  # the same clusters are drawn, each counted double
    # Taken for 400 independent items they would look surer by √2.
    assert width(bootstrap_mean(values + values, seed=0)) == pytest.approx(
        once / math.sqrt(2), rel=0.1
    )


def test_clusters_of_different_sizes_keep_their_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    # Clusters (1, 1, 1) and (0): the four resamples are {aa: 1, ab: 3/4, ba: 3/4, bb: 0}, not the
    # mean of cluster means (1/2 in the middle); a quarter of the draws lies at either end.
    values, labels = [1.0, 1.0, 1.0, 0.0], ["a", "a", "a", "b"]
    assert bootstrap_mean(values, labels, seed=0) == Interval(0.0, 1.0)
    monkeypatch.setattr("core.intervals._LEVEL", 0.2)
    assert bootstrap_mean(values, labels, seed=0) == Interval(0.75, 0.75)


@pytest.mark.parametrize(("values", "labels"), [([], []), ([1.0], ["a"]), ([1.0, 0.0], ["a", "a"])])
def test_fewer_than_two_clusters_have_no_interval(values: list[float], labels: list[str]) -> None:
    assert bootstrap_mean(values, labels, seed=0) is None
    assert clustered_stderr(values, labels) is None


def test_equal_values_have_an_interval_without_width() -> None:
    assert bootstrap_mean([2.0] * 5, seed=0) == Interval(2.0, 2.0)
    assert clustered_stderr([2.0] * 5) == 0.0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_refused_and_never_comes_out(bad: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        bootstrap_mean([1.0, bad, 0.0], seed=0)
    with pytest.raises(ValueError, match="not finite"):
        clustered_stderr([1.0, bad, 0.0])
    with pytest.raises(ValueError, match="not finite"):
        bootstrap([1, 2, 3], lambda _: bad, seed=0, resamples=10)


def test_labels_and_values_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="3 values but 2 cluster labels"):
        bootstrap_mean([1.0, 2.0, 3.0], ["a", "b"], seed=0)
    with pytest.raises(ValueError, match="per cluster"):
        bootstrap_ratio([1.0], [1.0, 2.0], seed=0)


def test_clusters_without_anything_to_compare_are_left_out_of_a_ratio() -> None:
    above, below = [1.0, 2.0, 0.0, 3.0], [2.0, 2.0, 1.0, 3.0]
    padded = bootstrap_ratio([*above, 0.0], [*below, 0.0], seed=0)
    assert padded is not None
    assert padded == bootstrap_ratio(above, below, seed=0)
    assert bootstrap_ratio([1.0, 0.0], [1.0, 0.0], seed=0) is None


def test_the_general_bootstrap_of_a_mean_agrees_with_the_fast_one() -> None:
    values = flips(100)
    slow = bootstrap(values, lambda drawn: sum(drawn) / len(drawn), seed=5, resamples=2000)
    fast = bootstrap_mean(values, seed=5)
    assert slow is not None and fast is not None
    assert slow.low == pytest.approx(fast.low, abs=0.02)
    assert slow.high == pytest.approx(fast.high, abs=0.02)


def test_the_general_bootstrap_depends_on_the_seed_alone_too() -> None:
    values = [random.Random(0).gauss(0, 1) for _ in range(50)] + flips(50)
    found = [bootstrap(values, statistics.fmean, seed=seed, resamples=100) for seed in (3, 3, 4)]
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_undefined_resamples_are_left_out_and_too_many_leave_no_interval() -> None:
    def spread(drawn: Sequence[int]) -> float | None:
        return float(max(drawn) - min(drawn)) if len(set(drawn)) > 1 else None

    # Two clusters: half of the resamples draw one of them twice. Eight: one in two million.
    assert bootstrap([1, 2], spread, seed=0, resamples=200) is None
    assert bootstrap(range(8), spread, seed=0, resamples=200) is not None
    assert bootstrap([1], spread, seed=0) is None


def test_wilson_gives_the_textbook_values() -> None:
    # 8 of 10, z = 1.95996: middle (0.8 + 0.192073)/1.384146 = 0.716740,
    # half 1.415998·√(0.016 + 0.009604) = 0.226576... -> (0.4902, 0.9433) (Brown, Cai, DasGupta).
    interval = wilson(8, 10)
    assert interval is not None
    assert interval.low == pytest.approx(0.490163, abs=1e-5)
    assert interval.high == pytest.approx(0.943318, abs=1e-5)


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
    # 8 of 10 as in the textbook values above.
    low, high = wilson(8, 10) or (None, None)
    found = share_score("x", 8, 10, 2, scale=1.0)
    assert found == Score("x", 0.8, 10, 2, low, high)
    assert share_score("x", 8, 10).value == 80.0
    assert share_score("x", 0, 0, 3, reason="nothing") == Score("x", None, 0, 3, reason="nothing")
