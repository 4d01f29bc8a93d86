from __future__ import annotations

import math
import random

import pytest

from judges.meta.bradley_terry import strengths


def test_two_that_win_three_of_four_differ_by_the_log_of_three() -> None:
    # The maximum of 3·log σ(d) + log σ(−d): σ(d) = 3/4.
    high, low = strengths([[0, 3], [1, 0]])
    assert high - low == pytest.approx(math.log(3), abs=1e-4)
    assert high + low == pytest.approx(0)


def test_the_maximum_of_a_chain_is_that_of_its_links() -> None:
    # A tree has no loops: each link's difference is the log of its own odds. 2 : 1, then 5 : 1.
    a, b, c = strengths([[0, 2, 0], [1, 0, 5], [0, 1, 0]])
    assert (a - b, b - c) == pytest.approx((math.log(2), math.log(5)), abs=1e-4)


def test_wins_expected_are_wins_had() -> None:
    # What the likelihood's derivative says at its maximum, for any matrix, counted a second way.
    draw = random.Random(7)
    wins = [[draw.random() if a != b else 0.0 for b in range(6)] for a in range(6)]
    found = strengths(wins)
    for a in range(6):
        chance = [1 / (1 + math.exp(found[b] - found[a])) for b in range(6)]
        expected = sum((wins[a][b] + wins[b][a]) * chance[b] for b in range(6) if b != a)
        assert expected == pytest.approx(sum(wins[a]), abs=1e-4)


def test_one_that_never_loses_is_finite_and_first() -> None:
    a, b, c = strengths([[0, 1, 1], [0, 0, 1], [0, 0, 0]])
    assert a > b > c
    assert all(map(math.isfinite, (a, b, c)))


def test_a_tie_of_wins_a_lone_one_and_nothing() -> None:
    assert strengths([[0, 1], [1, 0]]) == pytest.approx([0, 0], abs=1e-9)
    assert strengths([[0, 0], [0, 0]]) == [0, 0]
    assert strengths([[0]]) == [0]
    assert strengths([]) == []
    # The third was never compared: it stands where all stand on average.
    assert strengths([[0, 3, 0], [1, 0, 0], [0, 0, 0]])[2] == pytest.approx(0, abs=1e-9)
