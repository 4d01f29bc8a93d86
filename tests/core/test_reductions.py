from __future__ import annotations

import random

import pytest

from core.records import Score
from core.reductions import judge_noise


def test_judge_noise_is_told_from_that_of_items_by_hand() -> None:
    # Items 1, 3 and 5, 7: within (1 + 1 + 1 + 1)/2 = 2. Means 2 and 6 around 4: between items
    # 2·(4 + 4)/1 = 16, less 2, over two draws: 7. Variance of the mean of four: 2/4 by the judge,
    # 7·(4 + 4)/16 = 3.5 by items: 1/8 of 4.
    found = judge_noise("judge_noise", [[1.0, 3.0], [5.0, 7.0]])
    assert found.value == pytest.approx(2**0.5)
    assert found.n == 2
    assert found.detail == {
        "between_sd": pytest.approx(7**0.5),
        "judge_share": pytest.approx(0.125),
    }


def test_a_judge_that_repeats_itself_has_none() -> None:
    found = judge_noise("judge_noise", [[2.0, 2.0], [4.0, 4.0, 4.0], [3.0]])
    assert (found.value, found.n) == (0.0, 2)
    assert found.detail is not None and found.detail["judge_share"] == 0.0
    # Nothing varies at all: no share of nothing.
    same = judge_noise("judge_noise", [[2.0, 2.0], [2.0]])
    assert same.detail == {"between_sd": 0.0, "judge_share": None}


def test_a_judge_asked_once_has_an_unknown_noise() -> None:
    assert judge_noise("x", [[2.0], [5.0], []]) == Score(
        "x", None, 0, reason="each item was judged once"
    )
    assert judge_noise("x", []) == Score("x", None, 0, reason="nothing was judged")


def test_both_deviations_are_found_again() -> None:
    rng = random.Random(0)
    levels = [rng.gauss(5, 1.5) for _ in range(2000)]
    found = judge_noise("x", [[rng.gauss(m, 0.8) for _ in range(3)] for m in levels])
    assert found.value == pytest.approx(0.8, rel=0.03)
    assert found.detail is not None
    assert found.detail["between_sd"] == pytest.approx(1.5, rel=0.05)
    # 0.64/3 of 0.64/3 + 2.25.
    assert found.detail["judge_share"] == pytest.approx(0.0866, abs=0.006)
