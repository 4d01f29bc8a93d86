from __future__ import annotations

import pytest

from core.records import Score
from evaluation.human.krippendorff import NO_PAIRS
from evaluation.human.statistics import Majority, by_item, majority, scores
from tests.evaluation.human.voting import all_votes, choice_of, votes_on


def found(*said: str) -> dict[str, Score]:
    """Scores of items whose votes are written as letters."""
    return {score.key: score for score in scores(all_votes(said))}


@pytest.mark.parametrize(
    ("said", "choice", "split"),
    [
        ("A", "A", False),  # one person is their own majority
        ("t", "tie", False),
        ("BB", "B", False),
        ("AB", "tie", True),  # two who disagree: nobody has won
        ("At", "tie", True),
        ("AAB", "A", False),
        ("Btt", "tie", False),  # a majority for a tie is no split
        ("ABt", "tie", True),  # the three-way split
        ("tBA", "tie", True),
        ("AABB", "tie", True),
        ("AAtt", "tie", True),
        ("AABt", "tie", True),  # most votes, but not more than half
        ("AAAB", "A", False),
        ("AABBt", "tie", True),
        ("AAABB", "A", False),
    ],
)
def test_the_majority_is_the_choice_of_more_than_half(said: str, choice: str, split: bool) -> None:
    assert majority([choice_of(one) for one in said]) == Majority(choice, split)  # type: ignore[arg-type]


def test_a_majority_without_choices_is_refused() -> None:
    with pytest.raises(ValueError, match="no choices"):
        majority([])


def test_win_tie_lose_with_ties_told_apart() -> None:
    # Of ten items A wins four and B two; two are voted ties, two are split three ways.
    all_of = found("AAA", "AAB", "AtA", "AAt", "BBB", "BBt", "ttA", "ABt", "BtA", "ttt")

    assert [all_of[key].value for key in ("win", "tie", "lose")] == [40.0, 40.0, 20.0]
    assert all_of["tie"].detail == {"voted": 2, "no_majority": 2, "three_way": 2}
    assert all_of["net"].value == 20.0
    assert {all_of[key].n for key in ("win", "tie", "lose", "net")} == {10}
    # Wilson's interval of 4 in 10, from its closed form: (0.4 + 0.19207 ± 1.95996·√(0.024 +
    # 0.0096037))/1.38415, in percent.
    assert all_of["win"].low == pytest.approx(16.82, abs=0.01)
    assert all_of["win"].high == pytest.approx(68.73, abs=0.01)
    # The exact sign test of 4 wins in 6: 2·(15 + 6 + 1)/64 = 0.6875.
    assert all_of["sign_test"].value == pytest.approx(0.6875)
    assert all_of["sign_test"].n == 6


def test_two_against_two_is_no_three_way_split() -> None:
    assert found("AABB", "AABt", "AAAA")["tie"].detail == {
        "voted": 0,
        "no_majority": 2,
        "three_way": 1,
    }


def test_an_item_that_lacks_a_vote_is_missing_and_in_no_rate() -> None:
    # The second item already has two of three for A, the third nobody has looked at.
    all_of = found("BBB", "AA-", "---")

    assert (all_of["win"].value, all_of["win"].n, all_of["win"].missing) == (0.0, 1, 2)
    assert all_of["lose"].value == 100.0
    # Both votes on the second item still tell how far people agree.
    assert (all_of["people/agreement"].n, all_of["people/agreement"].missing) == (2, 1)


def test_before_anybody_has_voted_nothing_is_zero() -> None:
    all_of = found("---", "---")

    assert {score.value for score in all_of.values()} == {None}
    assert all(score.reason for score in all_of.values())
    assert all_of["win"].missing == 2


def test_pairs_of_votes_agree_by_hand() -> None:
    # AAA: 3 of 3 pairs; AAB: 1 of 3; ABt: 0 of 3. 4 of 9.
    agreement = found("AAA", "AAB", "ABt")["people/agreement"]

    assert agreement.value == pytest.approx(4 / 9)
    assert agreement.detail == {"pairs": 9}


def test_unanimous_items_are_counted() -> None:
    unanimous = found("AAA", "ttt", "AAB", "BB-")["people/unanimous"]

    assert unanimous.value == pytest.approx(2 / 3)
    assert (unanimous.n, unanimous.missing) == (3, 1)


def test_one_person_agrees_with_nobody() -> None:
    all_of = found("A", "B", "t")

    assert [all_of[key].value for key in ("win", "tie", "lose")] == [pytest.approx(100 / 3)] * 3
    for key in ("people/alpha", "people/alpha_ordinal", "people/agreement", "people/unanimous"):
        assert (all_of[key].value, all_of[key].reason) == (None, NO_PAIRS)


def test_alpha_of_the_votes_has_a_tie_in_the_middle_when_ordinal() -> None:
    # The hand-derived units of test_krippendorff: 6/11 and 7/9.
    all_of = found("AA", "At", "BB")

    assert all_of["people/alpha"].value == pytest.approx(6 / 11)
    assert all_of["people/alpha_ordinal"].value == pytest.approx(7 / 9)


def test_votes_for_the_left_side_are_counted_whoever_stands_there() -> None:
    # A on the left: both votes are for the left. B on the left: two of three. Ties have no side.
    items = [votes_on("p0", "AAt", left="A"), votes_on("p1", "ABB", left="B"), votes_on("p2", "tt")]
    left = {score.key: score for score in scores(items)}["people/left_wins"]

    assert left.value == pytest.approx(4 / 5)
    assert left.detail == {"votes": 5}
    assert (left.n, left.missing) == (2, 0)


def test_only_votes_of_the_annotators_asked_for_count() -> None:
    votes = [vote for item in all_votes(["AAB", "BBB"]) for vote in item.votes]
    items = by_item(["p0", "p1", "p2"], votes, ["annotator-1", "annotator-3"])

    assert [item.choices for item in items] == [("A", "B"), ("B", "B"), ()]
    assert [item.majority for item in items] == [
        Majority("tie", split=True),
        Majority("B", split=False),
        None,
    ]
