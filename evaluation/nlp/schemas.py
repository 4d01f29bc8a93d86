"""Item schemas of the NLP benchmarks, as on the hub."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

Row: TypeAlias = dict[str, Any]
Check: TypeAlias = Callable[[Row], str | None]
"""Returns the first problem of an item, naming the field; None if it is valid."""


def arc(row: Row) -> str | None:
    """Check an item of allenai/ai2_arc."""
    return _texts(row, "question") or _labelled_choices(row)


def openbookqa(row: Row) -> str | None:
    """Check an item of allenai/openbookqa."""
    return _texts(row, "question_stem") or _labelled_choices(row)


def hellaswag(row: Row) -> str | None:
    """Check an item of Rowan/hellaswag."""
    endings = row.get("endings")
    return (
        _texts(row, "activity_label", "ctx_a", "ctx_b", may_be_empty=True)
        or _text_list(endings, "endings", least=2)
        or _one_of(row, "label", [str(i) for i in range(len(endings or []))])
    )


def piqa(row: Row) -> str | None:
    """Check an item of baber/piqa."""
    return _texts(row, "goal", "sol1", "sol2") or _one_of(row, "label", [0, 1])


def social_iqa(row: Row) -> str | None:
    """Check an item of lighteval/siqa."""
    texts = ("context", "question", "answerA", "answerB", "answerC")
    return _texts(row, *texts) or _one_of(row, "label", ["1", "2", "3"])


def mmlu(row: Row) -> str | None:
    """Check an item of cais/mmlu."""
    choices = row.get("choices")
    problem = _texts(row, "question", "subject") or _text_list(choices, "choices", least=4)
    if problem or choices is None:
        return problem
    if len(choices) != 4:  # noqa: PLR2004 - A to D
        return f"choices has {len(choices)} texts, expected 4"
    return _one_of(row, "answer", [0, 1, 2, 3])


def gsm8k(row: Row) -> str | None:
    """Check an item of openai/gsm8k."""
    if problem := _texts(row, "question", "answer"):
        return problem
    return None if "####" in row["answer"] else "answer has no '####' before its result"


def nq_open(row: Row) -> str | None:
    """Check an item of google-research-datasets/nq_open."""
    return _texts(row, "question") or _text_list(row.get("answer"), "answer", least=1)


def _labelled_choices(row: Row) -> str | None:
    choices = row.get("choices")
    if not isinstance(choices, dict):
        return f"choices is {_shown(row, 'choices')}, expected an object with text and label"
    texts, labels = choices.get("text"), choices.get("label")
    problem = _text_list(texts, "choices.text", least=2) or _text_list(
        labels, "choices.label", least=2
    )
    if problem or texts is None or labels is None:
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
