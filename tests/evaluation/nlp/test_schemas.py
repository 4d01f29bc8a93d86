from __future__ import annotations

from typing import Any

import pytest

from evaluation.nlp.schemas import SCHEMAS, Check

CHOICES = {"text": ["x", "y"], "label": ["A", "B"]}
GOOD: dict[str, dict[str, Any]] = {
    "arc": {"question": "q", "choices": CHOICES, "answerKey": "B"},
    "openbookqa": {"question_stem": "q", "choices": CHOICES, "answerKey": "A"},
    "hellaswag": {
        "activity_label": "a",
        "ctx_a": "b",
        "ctx_b": "",
        "endings": ["w", "x", "y", "z"],
        "label": "3",
    },
    "piqa": {"goal": "g", "sol1": "x", "sol2": "y", "label": 1},
    "social_iqa": {
        "context": "c",
        "question": "q",
        "answerA": "x",
        "answerB": "y",
        "answerC": "z",
        "label": "3",
    },
    "mmlu": {"question": "q", "subject": "law", "choices": ["w", "x", "y", "z"], "answer": 0},
    "gsm8k": {"question": "q", "answer": "a #### 3"},
    "nq_open": {"question": "q", "answer": ["x"]},
}


NAMES = {"social_iqa": "siqa"}


def check(name: str) -> Check:
    return next(found for data_set, found in SCHEMAS.items() if NAMES.get(name, name) in data_set)


@pytest.mark.parametrize("name", GOOD)
def test_an_item_in_the_hubs_schema_passes(name: str) -> None:
    assert check(name)(GOOD[name]) is None


@pytest.mark.parametrize(("name", "field"), [(n, f) for n, row in GOOD.items() for f in row])
def test_an_absent_or_null_field_is_named(name: str, field: str) -> None:
    absent = {key: value for key, value in GOOD[name].items() if key != field}
    for row in (absent, GOOD[name] | {field: None}, GOOD[name] | {field: 7.5}):
        problem = check(name)(row)
        assert problem is not None
        assert problem.startswith((field, f"{field} is"))


@pytest.mark.parametrize(
    ("name", "changes", "problem"),
    [
        ("arc", {"answerKey": "C"}, "answerKey is 'C', expected one of 'A', 'B'"),
        ("arc", {"choices": {"text": ["x", "y"], "label": ["A"]}}, "choices.label is not a list"),
        (
            "arc",
            {"choices": {"text": ["x", "y", "z"], "label": ["A", "B"]}},
            "3 texts but 2 labels",
        ),
        ("arc", {"question": " "}, "question is ' ', expected text"),
        ("hellaswag", {"label": ""}, "label is ''"),  # the hub's hidden test labels
        ("hellaswag", {"label": 3}, "label is 3"),
        ("hellaswag", {"endings": ["x", ""]}, "endings holds something that is not text"),
        ("piqa", {"label": -1}, "label is -1, expected one of 0, 1"),
        ("piqa", {"label": True}, "label is True, expected one of 0, 1"),
        ("social_iqa", {"label": "0"}, "label is '0', expected one of '1', '2', '3'"),
        ("mmlu", {"answer": 4}, "answer is 4, expected one of 0, 1, 2, 3"),
        ("mmlu", {"answer": "A"}, "answer is 'A'"),
        ("mmlu", {"choices": ["x"] * 5}, "choices has 5 texts, expected 4"),
        ("gsm8k", {"answer": "3"}, "answer has no '####'"),
        ("nq_open", {"answer": []}, "answer is not a list of 1 or more texts"),
        ("nq_open", {"answer": "x"}, "answer is not a list"),
    ],
)
def test_a_wrong_value_is_shown_with_what_was_expected(
    name: str, changes: dict[str, Any], problem: str
) -> None:
    found = check(name)(GOOD[name] | changes)
    assert found is not None
    assert problem in found
