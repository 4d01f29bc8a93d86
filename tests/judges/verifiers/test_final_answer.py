from __future__ import annotations

import time

import pytest

from judges.verifiers.final_answer import check_final, wanted_answer


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        ("Janet sells 9 eggs for $2: 9 * 2 = 18.\n#### 18", "18"),  # GSM8K's own form
        ("#### 1,234", "1,234"),
        ("42", "42"),
        ("Paris", "Paris"),
    ],
)
def test_what_a_data_set_wants(solution: str, answer: str) -> None:
    assert wanted_answer(solution) == answer


@pytest.mark.parametrize(
    ("response", "wanted", "right"),
    [
        ("9 * 2 = 18\n#### 18", "18", True),
        ("So she has 18 dollars.", "18", True),  # the last number
        ("18 eggs, of which 3 are broken", "18", False),
        ("The answer is 18, since 9 * 2 is that.", "18", True),  # stated before other numbers
        ("The answer is 9 * 2 = 18 dollars", "18", True),  # the result, not the first number
        ("Answer: $1,200.00", "1200", True),
        ("#### 1200.5", "1200", False),
        ("\\boxed{-7}, as 3 - 10 shows", "-7", True),
        ("#### 17\nNo, wait.\n#### 18", "18", True),  # the last statement counts
        ("#### 18\nNo, wait.\n#### 17", "18", False),
        ("I cannot answer: 5 apples or 18?", "18", False),  # "answer:" states 5
        ("It is 50%.", "50", True),
        ("no number here", "18", False),
        ("", "18", False),
        ("118", "18", False),
        ("1.8", "18", False),
        ("The answer is **Paris**.", "Paris", True),
        ("Paris", "Paris", False),  # words must be stated: any text holds words
        ("Answer: the Seine", "Paris", False),
        ("#### NEW  york", "New York", True),
    ],
)
def test_the_final_answer_counts_and_numbers_by_value(
    response: str, wanted: str, right: bool
) -> None:
    assert check_final(response, wanted).right is right


def test_long_responses_take_linear_time() -> None:
    began = time.monotonic()
    for text in ("answer is " * 50_000, "9" * 200_000, "#" * 200_000, "1," * 100_000):
        check_final(text, "18")
    assert time.monotonic() - began < 5
