from __future__ import annotations

import math

import pytest

from benchmarks.same_scores import Agreement, compare_rounding, compare_scores
from engines.engine import Logprob


def ours(*totals: float, greedy: bool = False) -> list[Logprob]:
    return [Logprob(total, 1, greedy) for total in totals]


def theirs(*totals: float, greedy: bool = False) -> list[tuple[float, bool]]:
    return [(total, greedy) for total in totals]


def test_rounding_is_equal_and_the_largest_difference_is_told() -> None:
    found = compare_scores(ours(-1.0, -2.0, -3.0), theirs(-1.00005, -2.0, -2.99998), [2, 1])
    assert found.largest == pytest.approx(5e-5)
    assert found == Agreement(found.largest, choices=True, greedy=True)
    assert found.equal


def test_more_than_a_ten_thousandth_is_not_equal() -> None:
    assert not compare_scores(ours(-1.0, -2.0), theirs(-1.0, -2.0002), [2]).equal


def test_another_choice_in_the_second_item_is_not_equal() -> None:
    # Item 1 has two choices, item 2 three. In item 2 we take the last, they the middle one, though
    # every number is within the tolerance.
    own = ours(-1.0, -2.0, -5.0, -3.00004, -3.0)
    other = theirs(-1.0, -2.0, -5.0, -3.0, -3.00004)
    found = compare_scores(own, other, [2, 3])
    assert not found.choices
    assert not found.equal


def test_another_greedy_flag_is_not_equal() -> None:
    found = compare_scores(ours(-1.0, greedy=True), theirs(-1.0), [1])
    assert (found.largest, found.greedy, found.equal) == (0.0, False, False)


@pytest.mark.parametrize("place", [0, 1])
def test_a_score_that_is_no_number_is_not_equal(place: int) -> None:
    totals = [-1.0, -2.0]
    totals[place] = math.nan
    found = compare_scores(ours(-1.0, -2.0), theirs(*totals), [2])
    assert (found.largest, found.equal) == (math.inf, False)


def test_a_side_that_lacks_scores_is_refused() -> None:
    with pytest.raises(ValueError, match="1 and 2 scores for 2 requests"):
        compare_scores(ours(-1.0), theirs(-1.0, -2.0), [2])


def test_bfloat16_is_equal_while_it_is_about_as_far_from_float32_as_the_peers() -> None:
    # Ours are 0.1 and 0.3 off, the peer's 0.2 and 0.2: 0.2 on average both.
    exact = theirs(-1.0, -2.0)
    found = compare_rounding(ours(-1.1, -2.3), theirs(-0.8, -2.2), exact)
    assert found == pytest.approx((0.2, 0.2))
    assert found.equal
    # 0.26 against 0.2 is more than a quarter further.
    assert not compare_rounding(ours(-1.26, -2.26), theirs(-0.8, -2.2), exact).equal
