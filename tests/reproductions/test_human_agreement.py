from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import pytest

from core.errors import DataError
from tests.reproductions.human_agreement import (
    Agreement,
    Pair,
    human_agreement,
    judge_agreement,
    longer,
    majority,
    read_votes,
)

if TYPE_CHECKING:
    from pathlib import Path

A, B = Pair("i", "longer than", "this"), Pair("i", "x", "y")


def test_real_votes_give_the_published_agreements(shared: Path) -> None:
    folder = shared / "data" / "alpaca_eval"
    votes = read_votes(folder / "alpaca_farm_human_crossannotations.json.gz")
    with (folder / "evaluators_leaderboard.csv").open(encoding="utf-8") as file:
        published = {row[""]: float(row["Human agreement"]) for row in csv.DictReader(file)}
    humans, length = human_agreement(votes), judge_agreement(votes, longer)
    assert humans.percent == pytest.approx(65.6636, abs=1e-4)
    assert humans.percent == pytest.approx(published["humans"], abs=1e-9)
    assert length.percent == pytest.approx(62.1914, abs=1e-4)
    assert length.percent == pytest.approx(published["longest"], abs=1e-9)
    assert humans.n == length.n == 648


def test_unanimous_humans_agree_wholly_and_a_judge_against_them_not_at_all() -> None:
    votes = {A: [1.0, 1, 1, 1], B: [2.0, 2, 2, 2]}
    assert human_agreement(votes) == Agreement(100, 2)
    assert judge_agreement(votes, lambda pair: votes[pair][0]) == Agreement(100, 2)
    assert judge_agreement(votes, lambda pair: 3 - votes[pair][0]) == Agreement(0, 2)
    assert judge_agreement(votes, lambda _: 1.5) == Agreement(50, 2)


def test_a_lone_dissenter_disagrees_and_the_others_agree() -> None:
    # 1 1 1 2: the three 1s each meet {1, 1, 2}: agree; the 2 meets {1, 1, 1}: 3/4.
    assert human_agreement({A: [1.0, 1, 1, 2]}) == Agreement(75, 1)
    # 1 1 2 2: every vote meets one of its kind and two of the other: nobody agrees.
    assert human_agreement({A: [1.0, 1, 2, 2]}) == Agreement(0, 1)


def test_two_against_two_resolves_to_2() -> None:
    assert majority([1, 2, 2, 1]) == 2
    assert judge_agreement({A: [1.0, 1, 2, 2]}, lambda _: 2.0) == Agreement(100, 1)


def test_a_preference_in_between_is_credited_in_part() -> None:
    assert judge_agreement({A: [1.0, 1, 1, 1]}, lambda _: 1.25) == Agreement(75, 1)


def test_only_the_first_four_votes_count_and_pairs_with_fewer_are_left_out() -> None:
    votes = {A: [1.0, 1, 1, 1, 2, 2, 2, 2, 2], B: [2.0, 2, 2]}
    assert human_agreement(votes) == Agreement(100, 1)
    assert judge_agreement(votes, lambda _: 1.0) == Agreement(100, 1)


def test_a_judge_without_a_preference_is_counted_not_scored() -> None:
    votes = {A: [1.0, 1, 1, 1], B: [2.0, 2, 2, 2]}
    assert judge_agreement(votes, lambda p: 1.0 if p == A else None) == Agreement(100, 1, 1)


def test_nothing_to_compare_has_no_agreement() -> None:
    assert human_agreement({}) == Agreement(None, 0)
    assert judge_agreement({}, longer) == Agreement(None, 0)


def test_of_equally_long_outputs_the_second_counts_as_longer() -> None:
    assert (longer(A), longer(B)) == (1.0, 2.0)


def test_a_bad_vote_is_named_by_its_row(tmp_path: Path) -> None:
    path = tmp_path / "votes.json"
    good = {**A._asdict(), "preference": 1}
    path.write_text(json.dumps([good, {**good, "preference": 1.5}]), encoding="utf-8")
    with pytest.raises(DataError, match=r"votes\.json:2: preference 1\.5: humans vote 1 or 2"):
        read_votes(path)
    path.write_text(json.dumps([good, {**good, "output_2": None}]), encoding="utf-8")
    with pytest.raises(DataError, match=r"votes\.json:2: output_2 is not text"):
        read_votes(path)
