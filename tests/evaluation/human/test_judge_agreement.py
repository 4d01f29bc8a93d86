from __future__ import annotations

import pytest

from core.records import Score, Verdict
from evaluation.human.statistics import judge_scores, no_judge_scores, verdicts_by_item
from tests.evaluation.human.voting import all_votes, choice_of


def judged(said: list[str], verdicts: str) -> dict[str, Score]:
    """Scores of a judge that says these letters of p0, p1, ...; "?" is unreadable, "-" absent."""
    found = {}
    for at, letter in enumerate(verdicts):
        if letter != "-":
            winner = None if letter == "?" else choice_of(letter)
            found[f"p{at}"] = Verdict(f"p{at}", f"p{at}", "M3", "sft", winner)
    return {score.key: score for score in judge_scores(all_votes(said), found)}


def test_a_judge_that_says_what_the_majority_says_agrees_always() -> None:
    found = judged(["AAA", "BBt", "ttA", "AAB"], "ABtA")

    assert found["judge/agreement"].value == 1.0
    assert found["judge/agreement_untied"].value == 1.0
    # Single votes: 3 + 2 + 2 + 2 of 12.
    assert found["judge/vote_agreement"].value == pytest.approx(9 / 12)
    detail = found["judge/agreement"].detail
    # People: A 2, B 1, tie 1 of 4, the judge the same: (4 + 1 + 1)/16.
    assert detail is not None
    assert detail["chance"] == pytest.approx(6 / 16)
    assert detail["kappa"] == 1.0


def test_agreement_stands_beside_chance_by_hand() -> None:
    # Majorities A A B tie(split) B; the judge A B B A tie: 2 of 5 are equal.
    found = judged(["AAA", "AAB", "BBB", "ABt", "BBA"], "ABBAt")["judge/agreement"]

    assert found.value == pytest.approx(0.4)
    # People A 2, B 2, tie 1; judge A 2, B 2, tie 1: (4 + 4 + 1)/25 = 0.36; kappa 0.04/0.64.
    assert found.detail is not None
    assert found.detail["chance"] == pytest.approx(0.36)
    assert found.detail["kappa"] == pytest.approx(0.0625)
    counts = {key: value for key, value in found.detail.items() if "/" in key}
    assert counts == {"A/A": 1, "A/B": 1, "B/B": 1, "B/tie": 1, "tie/A": 1}
    assert found.low is not None
    assert found.high is not None
    assert 0 < found.low < 0.4 < found.high < 1


def test_without_ties_only_items_with_a_winner_for_both_count() -> None:
    found = judged(["AAA", "AAB", "BBB", "ABt", "BBA"], "ABBAt")["judge/agreement_untied"]

    assert found.value == pytest.approx(2 / 3)
    assert (found.n, found.missing) == (3, 0)


def test_items_that_only_one_of_them_judged_are_missing() -> None:
    # p1 was not read, p2 has no verdict, p3 no majority yet.
    found = judged(["AAA", "BBB", "AAA", "AA-"], "A?-A")["judge/agreement"]

    assert (found.value, found.n, found.missing) == (1.0, 1, 2)


def test_a_judge_and_people_who_always_say_the_same_have_no_kappa() -> None:
    found = judged(["AAA", "AAA"], "AA")["judge/agreement"]

    assert found.value == 1.0
    assert found.detail is not None
    assert (found.detail["chance"], found.detail["kappa"]) == (1.0, None)


def test_without_a_common_item_there_is_no_agreement_and_a_reason() -> None:
    for found in (judged(["AAA"], "-"), judged(["A--"], "A")):
        assert {score.value for score in found.values()} == {None}
        assert {score.reason for score in found.values()} == {"no item that both have judged"}
    assert [score.reason for score in no_judge_scores("nobody was asked")] == [
        "nobody was asked"
    ] * 3


def test_verdicts_of_the_matchup_named_the_other_way_are_turned_round() -> None:
    orders = [
        Verdict("p0/ab", "p0", "sft", "M3", "A"),
        Verdict("p0/ba", "p0", "sft", "M3", "A"),
        Verdict("p1/ab", "p1", "sft", "M3", "A"),
        Verdict("p1/ba", "p1", "sft", "M3", "B"),
    ]
    found = verdicts_by_item(orders, a="M3")

    # sft won p0, which is B seen from M3; the orders of p1 disagree.
    assert {key: v.winner for key, v in found.items()} == {"p0": "B", "p1": "tie"}
    assert {key: v.winner for key, v in verdicts_by_item(orders, a="sft").items()} == {
        "p0": "A",
        "p1": "tie",
    }
