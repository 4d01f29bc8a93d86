from __future__ import annotations

import pytest

from core.intervals import wilson
from core.records import Score
from evaluation.human.krippendorff import NO_PAIRS
from evaluation.human.rankings import Ranking
from evaluation.human.rankings import ranking_scores as scores


def alpha(*given: tuple[str, str, tuple[int, ...]]) -> Score:
    """Alpha of (item, annotator, ranks)."""
    rankings = [Ranking(item, who, ranks) for item, who, ranks in given]
    (score,) = scores(rankings)
    return score


def test_equal_orders_are_perfect_agreement_whatever_numbers_were_used() -> None:
    found = alpha(("p", "a", (1, 2, 3)), ("p", "b", (2, 4, 9)))
    assert (found.value, found.n) == (1.0, 3)


def test_opposite_orders_are_below_0_by_hand() -> None:
    # Three candidates, ranks 1 2 3 and 3 2 1. Each unit is a pair: Σ o δ² = 2·(4 + 0 + 4) = 16.
    # n = 6, each rank twice: Σ n_c n_k δ² = 2·(2·2·1 + 2·2·1 + 2·2·4) = 48. α = 1 − 5·16/48 = −2/3.
    assert alpha(("p", "a", (1, 2, 3)), ("p", "b", (3, 2, 1))).value == pytest.approx(-2 / 3)


def test_tied_ranks_share_their_middle() -> None:
    # 1.5 1.5 3 against 1 2 3: within units 0.25 + 0.25 + 0 = 0.5, twice: Σ o δ² = 1. Values 1, 1.5,
    # 1.5, 2, 3, 3; squared distances of the 15 pairs: from 1: 0.25·2 + 1 + 4·2 = 9.5; from the
    # 1.5s: 0 + 0.25·2 + 2.25·4 = 9.5; from 2: 1·2 = 2; 3 and 3: 0. Twice 21 = 42.
    # α = 1 − 5·1/42.
    found = alpha(("p", "a", (1, 1, 2)), ("p", "b", (1, 2, 3)))
    assert found.value == pytest.approx(1 - 5 / 42)


def test_a_prompt_is_one_observation() -> None:
    one = [("p", who, (1, 2)) for who in "ab"]
    # Two candidates, but one prompt: 0 of 1 disagrees. Ranks 1, 1, 2, 2 differ in 8 of 12 ordered
    # pairs, by 1.
    (_, worst), (_, of_two) = (wilson(0, n) or (0.0, 0.0) for n in (1, 2))
    assert alpha(*one).low == pytest.approx(1 - worst / (8 / 12))
    # Ranks 1 and 2, four of each: 32 of 56 differ.
    two = alpha(*one, *[("q", who, (2, 1)) for who in "ab"])
    assert two.low == pytest.approx(1 - of_two / (32 / 56))


def test_one_person_s_rankings_and_none_leave_it_undefined() -> None:
    found = alpha(("p", "a", (1, 2)))
    assert (found.value, found.n, found.missing, found.reason) == (None, 0, 2, NO_PAIRS)
    assert alpha().reason == NO_PAIRS
