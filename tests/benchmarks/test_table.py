from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from benchmarks.comparison import Timings, compared, missing
from benchmarks.table import growth_table, number, reached, side_by_side


def row(ratio: float, *, equal: bool | None = True, **more: Any) -> dict[str, Any]:
    timings = Timings([1.0], [ratio])
    return compared(timings, peer="HFLM", equal=equal, amount=40, unit="items", **more)


def shown(table: Any) -> list[str]:
    out = StringIO()
    Console(file=out, width=220).print(table)
    return out.getvalue().splitlines()


@pytest.mark.parametrize(
    ("ratio", "equal", "target", "met"),
    [
        (2.5, True, 2.5, True),
        (2.49, True, 2.5, False),
        (9.0, False, 2.5, False),  # fast and wrong is not reached
        (2.6, None, 2.5, True),  # nothing to compare
        (9.0, True, None, None),
    ],
)
def test_a_target_is_reached_by_ratio_and_equal_results(
    ratio: float, equal: bool | None, target: float | None, met: bool | None
) -> None:
    assert reached(row(ratio, equal=equal), target) is met


def test_what_is_missing_reaches_nothing_and_fails_nothing() -> None:
    assert reached(missing("vLLM", "not installed"), 1.0) is None


def test_a_line_says_ratio_target_and_share_of_the_machine() -> None:
    more: dict[str, Any] = {"share_of_arithmetic": 0.51, "share_of_memory": 0.125}
    lines = shown(side_by_side({"arc0": row(3.0, **more), "hellaswag0": row(1.5, equal=False)}))
    (arc,) = [line for line in lines if "arc0" in line]
    for part in ("3.00×", "3.00-3.00", "≥ 2.5 yes", "51% arithmetic, 12% memory", "HFLM"):
        assert part in arc
    (hellaswag,) = [line for line in lines if "hellaswag0" in line]
    assert "≥ 1.7 NO" in hellaswag
    assert not any("judge_k3" in line for line in lines)


def test_a_missing_line_says_why() -> None:
    lines = shown(side_by_side({"judge_k3_vllm": missing("vLLM CPU", "no .venv-vllm")}))
    (line,) = [line for line in lines if "judge_k3_vllm" in line]
    assert "missing" in line
    assert "no .venv-vllm" in line


def test_growth_is_compared_per_row_within_one_thing() -> None:
    # 1 ms, then 2 ms for each row: twice. What comes next is another thing.
    rows = [
        {"what": "read", "rows": 1_000, "seconds": 1.0, "peak_mb": 50.0},
        {"what": "read", "rows": 10_000, "seconds": 20.0, "peak_mb": None},
        {"what": "dedup", "rows": 10, "seconds": 1.0, "peak_mb": 50.0},
    ]
    lines = [line for line in shown(growth_table(rows)) if "read" in line or "dedup" in line]
    assert ["×" in line for line in lines] == [False, True, False]
    assert "2.00×" in lines[1]


@pytest.mark.parametrize(
    ("value", "text"), [(0.01234, "0.0123"), (7.0, "7"), (99.94, "99.9"), (1234.4, "1,234")]
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text
