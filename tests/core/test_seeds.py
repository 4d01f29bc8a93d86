from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from benchmarks.coverage import KINDS, simulate
from core.intervals import student
from core.seeds import over_seeds, paired_seeds, seeds_apart


def table(rows: list[list[float]]) -> list[dict[str, float]]:
    return [{f"i{at}": value for at, value in enumerate(row)} for row in rows]


def test_the_mean_of_three_runs_with_student_s_interval() -> None:
    # 50, 56, 62: mean 56, deviation 6; t of two degrees of freedom is 4.3027, so ± 4.3027·6/√3.
    found = over_seeds([50.0, 56.0, 62.0])
    assert (found.n, found.mean, found.spread) == (3, 56.0, 6.0)
    assert found.interval is not None
    assert found.interval.low == pytest.approx(56 - 4.302653 * 6 / math.sqrt(3), abs=1e-4)
    assert found.interval.high == pytest.approx(56 + 4.302653 * 6 / math.sqrt(3), abs=1e-4)


def test_one_run_has_no_spread_and_none_is_refused() -> None:
    assert over_seeds([50.0]) == (1, 50.0, None, None)
    for values in ([], [math.nan], [1.0, math.inf]):
        with pytest.raises(ValueError, match="finite"):
            over_seeds(values)


def test_equal_runs_do_not_promise_that_the_next_is_equal_too() -> None:
    assert over_seeds([47.5, 47.5, 47.5]) == (3, 47.5, 0.0, None)
    assert over_seeds([0.1 + 0.2, 0.3]).interval is None


def test_the_interval_of_a_mean_stays_on_its_scale() -> None:
    found = over_seeds([90.0, 99.0], (0.0, 100.0))
    assert found.interval is not None
    assert found.interval.low == pytest.approx(94.5 - 12.7062 * 4.5, abs=1e-3)
    assert found.interval.high == 100.0


def test_a_difference_by_seeds_alone_is_a_one_sample_t_test() -> None:
    values = [3.0, 5.0, 1.5, 4.0]
    found, expected = seeds_apart(values), stats.ttest_1samp(values, 0.0)
    ends = expected.confidence_interval(0.95)
    assert found.difference == pytest.approx(3.375)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.interval is not None
    assert [*found.interval] == pytest.approx([ends.low, ends.high])
    with pytest.raises(ValueError, match="one seed"):
        seeds_apart([3.0])


def test_two_seeds_and_two_items_by_hand() -> None:
    # d = [[100, 0], [100, 100]]: mean 75; seeds' means 50 and 100, so their deviation is √1250 and
    # the first part of the variance 1250/2 = 625. Items' means 100 and 50: mean square
    # 2·1250 = 2500; all four residuals are ±25: mean square 2500/1. The second part is 0.
    # Half: 12.7062·25. With one degree of freedom p = 1 − 2/π·atan(75/25).
    a = table([[100.0, 0.0], [100.0, 100.0]])
    found = paired_seeds(a, table([[0.0, 0.0], [0.0, 0.0]]))
    assert found is not None and found.interval is not None
    assert (found.n, found.n_seeds, found.difference) == (2, 2, 75.0)
    assert found.spread == pytest.approx(math.sqrt(1250))
    assert found.interval.high - 75 == pytest.approx(12.7062 * 25, rel=1e-4)
    assert found.p_value == pytest.approx(1 - 2 / math.pi * math.atan(3), rel=1e-6)


def test_seeds_that_agree_on_every_item_leave_the_t_test_over_items() -> None:
    # The runs vary in nothing, so what is left is which items were asked.
    row = [30.0, 0.0, -10.0, 20.0, 0.0]
    found = paired_seeds(table([row, row, row]), table([[0.0] * 5] * 3))
    expected = stats.ttest_1samp(row, 0.0)
    assert found is not None and found.interval is not None
    assert found.spread == 0.0
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.interval.low == pytest.approx(expected.confidence_interval().low)


def test_both_parts_add_as_squares_of_half_widths() -> None:
    # d(s, i) = 10 s + 20 i for s = 0, 1 and i = 0, 1, 2, without a residual. Seeds' means 20 and
    # 30, deviation √50: variance 50/2 = 25, t₁ = 12.7062. Items' means 5, 25, 45: 2·400/6 = 133.33,
    # t₂ = 4.3027.
    rows = [[10.0 * s + 20.0 * i for i in range(3)] for s in range(2)]
    found = paired_seeds(table(rows), table([[0.0] * 3] * 2))
    assert found is not None and found.interval is not None
    half = math.sqrt(12.7062**2 * 25 + 4.30265**2 * 800 / 6)
    assert found.interval.high - found.difference == pytest.approx(half, rel=1e-4)


def test_p_is_the_level_at_which_the_interval_ends_at_0() -> None:
    rng = np.random.default_rng(3)
    for shift in (0.0, 0.5, 1.0, 2.0):
        rows = rng.normal(shift, 1.0, (3, 1)) + rng.normal(0.0, 2.0, 20) + rng.normal(0, 1, (3, 20))
        found = paired_seeds(table(rows.tolist()), table([[0.0] * 20] * 3))
        assert found is not None and found.interval is not None and found.p_value is not None
        assert (found.p_value < 0.05) is not (found.interval.low <= 0 <= found.interval.high)


def test_turns_of_one_question_are_one_item() -> None:
    # The same turns twice: as if each question had been asked once.
    rows = [[10.0, -5.0, 3.0], [20.0, 0.0, 1.0]]
    once = paired_seeds(table(rows), table([[0.0] * 3] * 2))
    twice = [[value for value in row for _ in range(2)] for row in rows]
    clusters = {f"i{at}": at // 2 for at in range(6)}
    found = paired_seeds(table(twice), table([[0.0] * 6] * 2), clusters=clusters)
    assert once is not None and found is not None
    assert found.n == 6
    assert found.interval == pytest.approx(once.interval)
    assert found.p_value == pytest.approx(once.p_value)


def test_only_items_that_every_run_has_count() -> None:
    a, b = table([[1.0, 5.0], [2.0, 9.0]]), table([[0.0, 0.0], [0.0, 0.0]])
    del b[1]["i1"]
    found = paired_seeds(a, b)
    assert found is not None
    assert (found.n, found.difference) == (1, 1.5)
    assert paired_seeds([{"x": 1.0}] * 2, [{"y": 1.0}] * 2) is None


def test_where_nothing_varies_there_is_nothing_to_judge_by() -> None:
    same = table([[1.0, 0.0], [0.0, 1.0]])
    found = paired_seeds(same, same)
    assert found is not None
    assert (found.difference, found.interval, found.p_value) == (0.0, None, None)
    always = paired_seeds(table([[100.0] * 3] * 2), table([[0.0] * 3] * 2))
    assert always is not None
    assert (always.difference, always.interval, always.p_value) == (100.0, None, None)


def test_one_seed_is_no_comparison_over_seeds_and_unequal_numbers_are_refused() -> None:
    assert paired_seeds([{"x": 1.0}], [{"x": 0.0}]) is None
    with pytest.raises(ValueError, match="2 and 1 seeds"):
        paired_seeds([{"x": 1.0}] * 2, [{"x": 0.0}])


def test_student_is_scipy_s() -> None:
    for df in (1, 2, 30):
        assert student(df, 0.01) == pytest.approx(stats.t.ppf(0.995, df))


@pytest.mark.parametrize(("name", "most"), [("over seeds", 0.97), ("over seeds, paired", 0.99)])
def test_the_intervals_of_three_and_five_seeds_hold_the_true_value(name: str, most: float) -> None:
    # 93 to 97 % are wanted; ± 1.5 % are chance of 1,200 samples. That of a paired difference is
    # wider than needed where runs do not vary at all (docs/coverage.md).
    kind = KINDS[name]
    for n in (3, 5):
        for rate in kind.rates:
            coverage = simulate(kind, n, rate, runs=1200).coverage
            assert coverage is not None
            assert 0.93 - 0.015 <= coverage <= most + 0.015, (n, rate)


def test_an_interval_over_items_alone_misses_what_seeds_vary() -> None:
    # Three seeds of a run that vary by as much as the prompts: pooled as one sample of items the
    # 95 % interval holds the true difference in far fewer cases.
    rng, held = np.random.default_rng(0), 0
    for _ in range(300):
        rows = rng.normal(0, 0.5, (3, 1)) + rng.normal(0, 1, (1, 60)) + rng.normal(0, 1, (3, 60))
        pooled = rows.mean(axis=0)
        held += abs(pooled.mean()) <= 1.96 * pooled.std(ddof=1) / math.sqrt(60)
    assert held / 300 < 0.75
