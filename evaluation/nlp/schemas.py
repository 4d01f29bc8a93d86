"""Item schemas of the NLP benchmarks, as on the hub."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

Row: TypeAlias = dict[str, Any]
Check: TypeAlias = Callable[[Row], str | None]
"""Returns the first problem of an item, naming the field; None if it is valid."""


def _labelled_choices(row: Row) -> str | None:
    choices = row.get("choices")
    if not isinstance(choices, dict):
        return f"choices is {_shown(row, 'choices')}, expected an object with text and label"
    texts: Any = choices.get("text")
    labels: Any = choices.get("label")
    for field, found in (("choices.text", texts), ("choices.label", labels)):
        if problem := _text_list(found, field, least=2):
            return problem
    if len(texts) != len(labels):
        return f"choices has {len(texts)} texts but {len(labels)} labels"
    return _one_of(row, "answerKey", labels)


def _texts(row: Row, *fields: str, may_be_empty: bool = False) -> str | None:
    for field in fields:
        value = row.get(field)
        if not isinstance(value, str) or not (value.strip() or may_be_empty):
            return f"{field} is {_shown(row, field)}, expected text"
    return None


def _text_list(value: Any, field: str, *, least: int) -> str | None:
    if not isinstance(value, list) or len(value) < least:
        return f"{field} is not a list of {least} or more texts"
    if not all(isinstance(item, str) and item for item in value):
        return f"{field} holds something that is not text"
    return None


def _one_of(row: Row, field: str, allowed: list[Any]) -> str | None:
    value = row.get(field)
    # True == 1 in Python, but not in a data set.
    if any(value == one and type(value) is type(one) for one in allowed):
        return None
    return f"{field} is {_shown(row, field)}, expected one of {', '.join(map(repr, allowed))}"


def _shown(row: Row, field: str) -> str:
    return repr(row[field])[:40] if field in row else "absent"


_SIQA = ("context", "question", "answerA", "answerB", "answerC")
SCHEMAS: dict[str, Check] = {
    "allenai/ai2_arc": lambda row: _texts(row, "question") or _labelled_choices(row),
    "allenai/openbookqa": lambda row: _texts(row, "question_stem") or _labelled_choices(row),
    "Rowan/hellaswag": lambda row: (
        _texts(row, "activity_label", "ctx_a", "ctx_b", may_be_empty=True)
        or _text_list(row.get("endings"), "endings", least=2)
        or _one_of(row, "label", [str(i) for i in range(len(row["endings"]))])
    ),
    "baber/piqa": lambda row: _texts(row, "goal", "sol1", "sol2") or _one_of(row, "label", [0, 1]),
    "lighteval/siqa": lambda row: _texts(row, *_SIQA) or _one_of(row, "label", ["1", "2", "3"]),
    "cais/mmlu": lambda row: (
        _texts(row, "question", "subject")
        or _text_list(row.get("choices"), "choices", least=4)
        or (f"choices has {n} texts, expected 4" if (n := len(row["choices"])) > 4 else None)  # noqa: PLR2004 - A to D
        or _one_of(row, "answer", [0, 1, 2, 3])
    ),
    "openai/gsm8k": lambda row: (
        _texts(row, "question", "answer")
        or (None if "####" in row["answer"] else "answer has no '####' before its result")
    ),
    "google-research-datasets/nq_open": lambda row: (
        _texts(row, "question") or _text_list(row.get("answer"), "answer", least=1)
    ),
}
"""The check of an item, by the data set's name on the hub."""
