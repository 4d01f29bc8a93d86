from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr

from core.correlations import kendall_tau, spearman

PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=30)


@given(PAIRS)
def test_short_and_long_lists_agree_with_scipy(pairs: list[tuple[int, int]]) -> None:
    x, y = [float(a) for a, _ in pairs], [float(b) for _, b in pairs]
    if len(set(x)) < 2 or len(set(y)) < 2:
        assert kendall_tau(x, y) is None and spearman(x, y) is None
    else:
        assert kendall_tau(x, y) == pytest.approx(kendalltau(x, y).statistic, abs=1e-12)
        assert spearman(x, y) == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)


@pytest.mark.parametrize("size", [2, 5, 40])
def test_the_same_order_is_1_and_the_reverse_minus_1(size: int) -> None:
    order = [float(n * n) for n in range(size)]
    assert kendall_tau(order, order) == pytest.approx(1.0)
    assert spearman(order, order[::-1]) == pytest.approx(-1.0)


def test_values_by_hand() -> None:
    # (1, 2, 3) against (1, 3, 2): pairs +, +, −: tau 1/3; rho = 1 − 6·2/(3·8) = 1/2.
    assert kendall_tau([1, 2, 3], [1, 3, 2]) == pytest.approx(1 / 3)
    assert spearman([1, 2, 3], [1, 3, 2]) == pytest.approx(1 / 2)
    # One tie in y: two pairs agree of 3 (x) and 2 (y) untied: 2/√6.
    assert kendall_tau([1, 2, 3], [1, 2, 2]) == pytest.approx(2 / 6**0.5)


@pytest.mark.parametrize(("x", "y"), [([], []), ([1.0], [2.0]), ([1.0, 1.0], [1.0, 2.0])])
def test_a_constant_or_one_value_has_no_correlation(x: list[float], y: list[float]) -> None:
    assert kendall_tau(x, y) is None
    assert spearman(y, x) is None
