from __future__ import annotations

import pytest

from benchmarks.comparison import Timings, alternate, compared, missing


def test_sides_are_timed_in_turn_and_ours_first() -> None:
    said: list[str] = []
    now = iter([0.0, 1.0, 10.0, 14.0, 20.0, 22.0, 30.0, 33.0])
    timings = alternate(
        lambda: said.append("ours"), lambda: said.append("theirs"), 2, clock=lambda: next(now)
    )
    assert said == ["ours", "theirs", "ours", "theirs"]
    assert timings == Timings([1.0, 2.0], [4.0, 3.0])


def test_a_repeats_ratio_is_their_seconds_over_ours() -> None:
    # 4/1, 3/2, 9/3: how many times as fast we are in each repeat; in order 1.5, 3, 4.
    row = compared(
        Timings([1.0, 2.0, 3.0], [4.0, 3.0, 9.0]), peer="p", equal=True, amount=6, unit="items"
    )
    assert (row["ratio_min"], row["ratio_median"], row["ratio_max"]) == (1.5, 3.0, 4.0)
    # Medians of seconds: 2 and 4. Speeds: 6 items in 2 s and in 4 s.
    assert row["ratio_of_medians"] == 2.0
    assert (row["ours"], row["theirs"], row["unit"]) == (3.0, 1.5, "items/s")
    assert row["spread"] == pytest.approx((4.0 - 1.5) / 3.0)
    assert (row["peer"], row["equal"], row["repeats"]) == ("p", True, 3)


def test_equal_sides_have_ratio_one_and_no_spread() -> None:
    row = compared(Timings([2.0], [2.0]), peer="p", equal=None, amount=1, unit="fits", n=805)
    assert (row["ratio_median"], row["spread"], row["equal"], row["n"]) == (1.0, 0.0, None, 805)


def test_what_cannot_be_measured_has_a_reason_and_no_number() -> None:
    row = missing("vLLM CPU", "no .venv-vllm")
    assert row["missing"] == "no .venv-vllm"
    measured = compared(Timings([1.0], [1.0]), peer="p", equal=True, amount=1, unit="items")
    asked = ("ratio_median", "ratio_min", "ratio_max", "ours", "theirs", "peer", "equal")
    assert set(asked) <= set(measured) & set(row)
    assert [row[name] for name in asked if name != "peer"] == [None] * 6
