from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import DataError
from tests.reproductions.votes import Agreement, Item, Vote, among, between, is_expert, read_votes
from tests.training.making import write_jsonl

if TYPE_CHECKING:
    from pathlib import Path


def vote(judge: str, winner: str | None, question: int = 81, turn: int = 1) -> Vote:
    return Vote(judge, Item(question, turn, ("x", "y")), winner)


def row(**changes: Any) -> dict[str, Any]:
    plain = {
        "judge": "expert_1",
        "model_a": "x",
        "model_b": "y",
        "question_id": 81,
        "turn": 1,
        "winner": "model_a",
    }
    return {**plain, **changes}


@pytest.mark.parametrize(
    ("turn", "ties", "gpt_4", "humans"),
    [
        # Zheng et al. 2023, Table 5: GPT-4 (pair) against human, human against human, in percent.
        (1, True, (886, 1343, 66), 63),
        (1, False, (727, 859, 85), 81),
        (2, True, (871, 1325, 66), 67),
        (2, False, (731, 864, 85), 82),
    ],
)
def test_table_5_of_zheng_et_al_is_reproduced(
    shared: Path, turn: int, ties: bool, gpt_4: tuple[int, int, int], humans: int
) -> None:
    folder = shared / "data" / "mt_bench"
    experts = [v for v in read_votes(folder / "human_votes.jsonl") if is_expert(v)]
    verdicts = read_votes(folder / "gpt4_pair_verdicts.jsonl")
    assert (len(verdicts), len(experts)) == (2400, 2668)
    agree, total, percent = gpt_4
    found = between(verdicts, experts, turn=turn, ties=ties)
    assert found == Agreement(agree, total)
    assert found.rate is not None and round(100 * found.rate) == percent
    rate = among(experts, turn=turn, ties=ties).rate
    assert rate is not None and round(100 * rate) == humans


def test_with_the_authors_votes_table_5_is_not_reproduced(shared: Path) -> None:
    folder = shared / "data" / "mt_bench"
    everybody = read_votes(folder / "human_votes.jsonl")
    verdicts = read_votes(folder / "gpt4_pair_verdicts.jsonl")
    assert between(verdicts, everybody, turn=1).total > 1343


def test_votes_that_are_all_equal_agree_and_opposite_ones_do_not() -> None:
    assert among([vote("a", "x"), vote("b", "x"), vote("c", "x")], turn=1) == Agreement(3, 3)
    assert between([vote("j", "x")], [vote("a", "y"), vote("b", "y")], turn=1) == Agreement(0, 2)


def test_ties_agree_with_each_other_and_can_be_left_out() -> None:
    judge = [vote("j", None), vote("j", "x", question=82)]
    people = [vote("a", None), vote("b", "x"), vote("a", "x", 82), vote("b", None, 82)]
    # tie–tie agrees, tie–x does not, x–x agrees, x–tie does not.
    assert between(judge, people, turn=1) == Agreement(2, 4)
    assert between(judge, people, turn=1, ties=False) == Agreement(1, 1)
    assert among(people, turn=1) == Agreement(0, 2)
    assert among(people, turn=1, ties=False) == Agreement(0, 0)


def test_only_the_turn_asked_for_counts() -> None:
    judge = [vote("j", "x"), vote("j", "y", turn=2)]
    people = [vote("a", "x"), vote("a", "x", turn=2), vote("b", "y", turn=2)]
    assert between(judge, people, turn=1) == Agreement(1, 1)
    assert between(judge, people, turn=2) == Agreement(1, 2)
    assert among(people, turn=2) == Agreement(0, 1)


def test_every_two_votes_are_compared() -> None:
    # x, x, y, tie: of six pairs only x–x agrees; without the tie, one of three.
    votes = [vote("a", "x"), vote("b", "x"), vote("c", "y"), vote("d", None)]
    assert among(votes, turn=1) == Agreement(1, 6)
    assert among(votes, turn=1, ties=False) == Agreement(1, 3)


def test_nothing_to_compare_has_no_rate() -> None:
    assert Agreement(0, 0).rate is None
    assert between([], [], turn=1) == Agreement(0, 0)
    assert among([vote("a", "x")], turn=1).rate is None
    assert between([vote("j", "x")], [vote("a", "x", question=99)], turn=1).rate is None


def test_two_verdicts_of_the_judge_on_one_item_are_an_error() -> None:
    with pytest.raises(DataError, match="two verdicts on question 81, turn 1, x against y"):
        between([vote("j", "x"), vote("j", "x")], [], turn=1)


@given(st.lists(st.sampled_from(["x", "y", None]), max_size=8))
def test_agreement_among_votes_counts_equal_pairs(winners: list[str | None]) -> None:
    votes = [vote(str(n), winner) for n, winner in enumerate(winners)]
    found = among(votes, turn=1)
    sizes = [winners.count(w) for w in ("x", "y", None)]
    assert found.agree == sum(n * (n - 1) // 2 for n in sizes)
    assert found.total == len(winners) * (len(winners) - 1) // 2


def test_a_vote_does_not_depend_on_the_order_of_the_models(tmp_path: Path) -> None:
    rows = [row(), row(model_a="y", model_b="x", winner="model_b"), row(winner="tie")]
    one, same, tie = read_votes(write_jsonl(tmp_path / "votes.jsonl", rows))
    assert one == same == vote("expert_1", "x")
    assert tie.winner is None


def test_fastchats_own_files_are_lists_with_the_judge_in_two_parts(tmp_path: Path) -> None:
    path = tmp_path / "votes.json"
    rows = [row(judge=["gpt-4", "pair-v2"], winner="tie (inconsistent)")]
    path.write_text(json.dumps(rows))
    assert read_votes(path) == [vote("gpt-4/pair-v2", None)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"winner": "model_c"}, r"votes.jsonl:1: winner 'model_c' is none of model_a, model_b"),
        ({"winner": ["model_a"]}, "winner"),
        ({"winner": None}, "winner None"),
        ({"judge": 7}, "judge: expected a name, found 7"),
        ({"turn": "1"}, "turn: expected int, found '1'"),
        ({"question_id": None}, "question_id: expected int, found None"),
        ({"model_b": "x"}, "x is compared with itself"),
    ],
)
def test_a_malformed_vote_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_votes(write_jsonl(tmp_path / "votes.jsonl", [row(**changes)]))
