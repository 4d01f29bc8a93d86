from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Literal

import pytest

from core.records import Measurement, Verdict
from judges.health import measure_comparisons

Winner = Literal["A", "B", "tie"] | None

NAMES = [
    "parse_rate", "verdict_mass", "flip_rate", "first_shown_rate", "tie_rate", "longer_wins",
]  # fmt: skip


def orders(key: str, ab: Winner, ba: Winner, reason: str = "no_score") -> list[Verdict]:
    """Return both orders' verdicts, seen from A's side, as `judge_orders` yields them."""
    return [
        Verdict(f"{key}/{order}", key, "m2", "m1", winner, None if winner else reason, ("words",))
        for order, winner in (("ab", ab), ("ba", ba))
    ]


def measured(
    verdicts: list[Verdict], lengths: dict[str, tuple[int, int]] | None = None
) -> dict[str, Measurement]:
    """Measure, with answer A always the longer one unless lengths are given."""
    flat = {verdict.prompt_key: (20, 10) for verdict in verdicts}
    return {m.key: m for m in measure_comparisons(verdicts, lengths or flat)}


def values(verdicts: list[Verdict]) -> list[float | None]:
    return [measured(verdicts)[name].value for name in NAMES[2:]]


def test_nothing_compared_has_no_values() -> None:
    found = measure_comparisons([], {})
    assert [(m.key, m.value, m.n) for m in found] == [(name, None, 0) for name in NAMES]


def test_a_judge_of_content_never_flips_and_has_no_favourite_position() -> None:
    # A is better twice, B once: in each comparison the winner is shown first once of two times.
    verdicts = [*orders("p0", "A", "A"), *orders("p1", "A", "A"), *orders("p2", "B", "B")]
    # A is longer: it wins twice and loses once, (1 + 1 − 1) / 3.
    assert values(verdicts) == [0.0, 0.5, 0.0, pytest.approx(1 / 3)]


@pytest.mark.parametrize(("ab", "ba", "first"), [("A", "B", 1.0), ("B", "A", 0.0)])
def test_a_judge_of_position_always_flips_and_every_comparison_is_a_tie(
    ab: Winner, ba: Winner, first: float
) -> None:
    verdicts = [v for n in range(4) for v in orders(f"p{n}", ab, ba)]
    assert values(verdicts) == [1.0, first, 1.0, None]


def test_a_judge_that_tosses_a_coin_flips_half_of_the_time() -> None:
    # Each of the four outcomes once: two of four flip; shown first wins 4 of 8 orders.
    verdicts = [
        v
        for n, (ab, ba) in enumerate(product("AB", repeat=2))
        for v in orders(f"p{n}", ab, ba)  # type: ignore[arg-type]
    ]
    assert values(verdicts) == [0.5, 0.5, 0.5, 0.0]


def test_a_judge_that_always_says_tie_names_no_winner() -> None:
    found = measured(orders("p0", "tie", "tie"))
    assert found["flip_rate"] == Measurement("flip_rate", 0.0, 1, {"half_tie": 0.0})
    assert found["first_shown_rate"] == Measurement("first_shown_rate", None, 0)
    assert found["tie_rate"] == Measurement("tie_rate", 1.0, 1)
    assert found["longer_wins"] == Measurement("longer_wins", None, 0)


def test_a_tie_in_one_order_is_no_flip_but_counted_and_ends_as_a_tie() -> None:
    found = measured([*orders("p0", "A", "tie"), *orders("p1", "A", "B")])
    # Two names differ only in p1; p0 is half a tie. Shown first: p0/ab yes, p1 both yes.
    assert found["flip_rate"] == Measurement("flip_rate", 0.5, 2, {"half_tie": 1.0})
    assert found["first_shown_rate"] == Measurement("first_shown_rate", 1.0, 3)
    assert found["tie_rate"] == Measurement("tie_rate", 1.0, 2)


def test_unread_orders_are_counted_by_cause_and_left_out_of_everything_else() -> None:
    verdicts = [
        *orders("p0", "A", "A"),
        *orders("p1", "A", None, "cut_off"),  # half a comparison says nothing about position
        *orders("p2", None, None, "refused"),
    ]
    found = measured(verdicts)
    # 3 of 6 orders can be read.
    assert found["parse_rate"] == Measurement(
        "parse_rate", 0.5, 6, {"cut_off": 1.0, "refused": 2.0}
    )
    assert found["flip_rate"] == Measurement("flip_rate", 0.0, 1, {"half_tie": 0.0})
    assert found["first_shown_rate"] == Measurement("first_shown_rate", 0.5, 2)


def test_a_judge_nobody_can_read_has_parse_rate_0_and_nothing_else() -> None:
    found = measured(orders("p0", None, None))
    assert found["parse_rate"] == Measurement("parse_rate", 0.0, 2, {"no_score": 2.0})
    assert [found[name].value for name in NAMES[1:]] == [None] * 5


def test_the_mass_of_the_verdicts_tokens_is_averaged_over_the_replies_that_have_one() -> None:
    # Two verdicts by first token of mass 0.9 and one unread for its 0.3: (0.9 + 0.9 + 0.3) / 3.
    both = [replace(v, mass=0.9) for v in orders("p0", "A", "A")]
    low, absent = orders("p1", None, None, "no_verdict_token")
    found = measured([*both, replace(low, mass=0.3), replace(absent, unparsed="no_logprobs")])
    assert found["verdict_mass"].value == pytest.approx(0.7)
    assert found["verdict_mass"].n == 3
    assert found["parse_rate"].value == 0.5
    assert measured(orders("p0", "A", "A"))["verdict_mass"].value is None


def test_comparisons_that_nobody_was_asked_about_are_left_out() -> None:
    same = Verdict("p1", "p1", "m2", "m1", "tie")
    verdicts = orders("p0", "A", "A")
    assert measured([*verdicts, same]) == measured(verdicts)


def test_two_comparisons_of_one_prompt_are_kept_apart() -> None:
    first, second = orders("p0", "A", "A"), orders("p0", "B", "B")
    renamed = [Verdict(v.key.replace("p0", "p0/again"), "p0", v.a, v.b, v.winner) for v in second]
    found = measured([*first, *renamed])
    assert (found["flip_rate"].value, found["flip_rate"].n) == (0.0, 2)


def test_winning_with_the_longer_answer_is_1_with_the_shorter_minus_1_with_equal_ones_0() -> None:
    lengths = {"p0": (10, 30), "p1": (10, 30), "p2": (30, 30)}
    wins: dict[str, Winner] = {"p0": "B", "p1": "A", "p2": "A"}

    def bias(*keys: str) -> float | None:
        verdicts = [v for key in keys for v in orders(key, wins[key], wins[key])]
        return measured(verdicts, lengths)["longer_wins"].value

    assert (bias("p0"), bias("p1"), bias("p2")) == (1.0, -1.0, 0.0)
    assert bias("p0", "p2") == 0.5
    assert bias("p0", "p1", "p2") == 0.0


def test_exchanging_the_sides_changes_no_measurement() -> None:
    verdicts = [*orders("p0", "A", "A"), *orders("p1", "A", "B"), *orders("p2", "B", "tie")]
    lengths = {"p0": (5, 9), "p1": (7, 3), "p2": (4, 4)}
    other = [
        Verdict(
            v.key[:-2] + {"ab": "ba", "ba": "ab"}[v.key[-2:]],
            *(v.prompt_key, v.b, v.a, v.swapped().winner, v.unparsed, v.replies),
        )
        for v in verdicts
    ]
    swapped = {key: (b, a) for key, (a, b) in lengths.items()}
    assert measured(other, swapped) == measured(verdicts, lengths)
