from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from core.intervals import wilson
from core.records import Score
from evaluation.human.krippendorff import (
    NO_PAIRS,
    NO_VARIATION,
    Level,
    krippendorff_alpha,
)

KEY = "alpha"
SIDES = ("A", "tie", "B")
# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", examples C and D: twelve units,
# four observers, a dot for a missing value.
OBSERVERS = (
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
)
PUBLISHED = [
    [float(value) for value in unit if value != "."]
    for unit in zip(*(row.split() for row in OBSERVERS), strict=True)
]


def of_sides(*units: str, level: Level = "nominal") -> Score:
    """Alpha of units written as letters: A, B, t."""
    names = {"A": "A", "B": "B", "t": "tie"}
    return krippendorff_alpha(KEY, [[names[v] for v in u] for u in units], SIDES, level=level)


@pytest.mark.parametrize(
    ("level", "expected"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_the_published_example_with_four_observers_and_missing_values(
    level: Level, expected: float
) -> None:
    found = krippendorff_alpha(KEY, PUBLISHED, [1.0, 2.0, 3.0, 4.0, 5.0], level=level)

    assert found.value is not None
    assert round(found.value, 3) == expected
    # Unit 12 has one value and pairs with nothing: 11 units, 40 of the 41 values.
    assert (found.n, found.missing, found.detail) == (11, 1, {"values": 40})


def test_the_published_binary_example_of_two_observers() -> None:
    # Example A of the same paper: two observers, ten units, alpha 0.095.
    found = krippendorff_alpha(
        KEY, list(zip("0100000010", "1110010000", strict=True)), "01", level="nominal"
    )
    assert found.value is not None
    assert round(found.value, 3) == 0.095


def test_the_published_nominal_example_of_two_observers() -> None:
    # Example B of the same paper: two observers, twelve units, five categories, alpha 0.692.
    found = krippendorff_alpha(
        KEY, list(zip("aabbdcccedda", "babbbcccedddd"[:12], strict=True)), "abcde", level="nominal",
    )  # fmt: skip
    assert found.value is not None
    assert round(found.value, 3) == 0.692


def test_people_who_always_agree_have_1() -> None:
    assert of_sides("AAA", "BBB", "ttt").value == 1.0
    assert of_sides("AAA", "BBB", "ttt", level="ordinal").value == 1.0


def test_people_who_always_contradict_each_other_are_below_0() -> None:
    # Two units of A and B. Coincidences: A-B twice, B-A twice, so Σ o δ = 4; n_A = n_B = 2, n = 4,
    # so Σ n_c n_k δ = 2·2·2 = 8. α = 1 − 3·4/8 = −0.5.
    assert of_sides("AB", "AB").value == pytest.approx(-0.5)


def test_three_units_by_hand() -> None:
    # AA, At, BB. Coincidences: A-A 2, B-B 2, A-t 1, t-A 1; n_A = 3, n_t = 1, n_B = 2, n = 6.
    # Σ o δ = 2; Σ n_c n_k δ = 36 − (9 + 1 + 4) = 22. α = 1 − 5·2/22 = 6/11.
    assert of_sides("AA", "At", "BB").value == pytest.approx(6 / 11)


def test_three_units_by_hand_when_a_tie_lies_in_the_middle() -> None:
    # The same. δ²: A to t (3 + 1 − 4/2)² = 4, t to B (1 + 2 − 3/2)² = 2.25, A to B
    # (3 + 1 + 2 − 5/2)² = 12.25. Σ o δ² = 2·4 = 8; Σ n_c n_k δ² = 2·(3·1·4 + 1·2·2.25 +
    # 3·2·12.25) = 180. α = 1 − 5·8/180 = 7/9: a tie is a small disagreement.
    assert of_sides("AA", "At", "BB", level="ordinal").value == pytest.approx(7 / 9)


def test_a_unit_of_three_counts_its_pairs_at_one_half() -> None:
    # AAB, BB. The first unit has 6 ordered pairs, each at 1/2: A-A 1, A-B 1, B-A 1; the second
    # B-B 2. n_A = 2, n_B = 3, n = 5; Σ o δ = 2, Σ n_c n_k δ = 12. α = 1 − 4·2/12 = 1/3.
    assert of_sides("AAB", "BB").value == pytest.approx(1 / 3)


def test_votes_by_a_single_person_leave_it_undefined() -> None:
    assert of_sides("A", "B", "t") == Score(KEY, None, 0, 3, reason=NO_PAIRS, detail={"values": 0})
    assert of_sides() == Score(KEY, None, 0, 0, reason=NO_PAIRS, detail={"values": 0})


def test_votes_that_never_vary_leave_it_undefined_and_are_not_perfect_agreement() -> None:
    assert of_sides("AA", "AA", "AAA") == Score(
        KEY, None, 3, 0, reason=NO_VARIATION, detail={"values": 7}
    )


def test_a_missing_vote_is_not_a_vote() -> None:
    whole = of_sides("AA", "AB", "BB")
    assert of_sides("AA", "AB", "BB", "A", "") == replace(whole, missing=2)


def test_the_interval_is_that_of_the_observed_disagreement() -> None:
    units = ["AA", "AB", "BB", "BB", "AA", "tt", "At", "BB", "AA", "BA"]
    found = of_sides(*units)

    assert found.value is not None
    # Three of ten units disagree. Values: A 8, B 9, t 3; two of 20 differ with probability
    # (400 − 64 − 81 − 9)/380 = 246/380, so alpha is 1 − 0.3/(246/380).
    expected = 246 / 380
    assert found.value == pytest.approx(1 - 0.3 / expected)
    low, high = wilson(3, 10) or (0.0, 0.0)
    assert found.low == pytest.approx(1 - high / expected)
    assert found.high == pytest.approx(1 - low / expected)


def test_perfect_agreement_on_few_items_is_not_certain() -> None:
    # Wilson's upper end of 0 of 20 is z²/(20 + z²) = 16.11 %; 10 of 20 As differ from 10 Bs with
    # probability 800/1560.
    perfect = of_sides(*["AA", "BB"] * 10)
    assert perfect.value == perfect.high == 1.0
    assert perfect.low == pytest.approx(1 - 0.161125 / (800 / 1560), abs=1e-5)


def test_units_of_one_cluster_are_one_observation() -> None:
    units = [["A", "A"], ["B", "B"], ["A", "B"], ["B", "A"]] * 6
    apart = krippendorff_alpha(KEY, units, SIDES, level="nominal")
    # Twelve clusters of two units that both agree or both disagree.
    labels = [at // 2 for at in range(24)]
    joined = krippendorff_alpha(KEY, units, SIDES, level="nominal", clusters=labels)

    assert joined.value == apart.value

    def width(score: Score) -> float:
        assert score.low is not None
        assert score.high is not None
        return score.high - score.low

    # √2, less what Wilson's interval of twelve gains by its narrower tails.
    assert 1.25 < width(joined) / width(apart) < 1.42


def test_a_value_that_is_no_category_is_refused() -> None:
    with pytest.raises(ValueError, match="'C' is none of"):
        krippendorff_alpha(KEY, [["A", "C"]], SIDES, level="nominal")


def test_alpha_by_counting_pairs_is_alpha_by_the_matrix() -> None:
    # A second way, without a matrix: mean disagreement within units over mean disagreement between
    # any two of all values.
    units = ["AAB", "Att", "BB", "tAB", "AAA", "Bt"]
    values = [v for unit in units for v in unit]
    within = sum(
        sum(x != y for at, x in enumerate(u) for to, y in enumerate(u) if at != to) / (len(u) - 1)
        for u in units
    )
    n = len(values)
    between = sum(x != y for x, y in product(values, values)) / (n - 1)

    assert of_sides(*units).value == pytest.approx(1 - within / between)
