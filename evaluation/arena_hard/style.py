"""The style of an answer: its length and its Markdown, code blocks left out.

Counts and features are those of Arena-Hard's style control (add_markdown_info.py, show_result.py).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from core.errors import DataError
from evaluation.files.json_rows import read_rows

if TYPE_CHECKING:
    from pathlib import Path

FEATURES = ("length", "headers", "lists", "bold")
# One class of characters each, without alternatives: time is linear in an untrusted answer.
_CODE = re.compile(r"```[^`]*```")
_HEADER = re.compile(r"^#{1,6}\s", re.MULTILINE)
_ORDERED = re.compile(r"^[^\S\n]*\d+\.\s", re.MULTILINE)
_UNORDERED = re.compile(r"^[^\S\n]*[-*+]\s", re.MULTILINE)
_BOLD = (re.compile(r"\*\*[^*\n]+\*\*"), re.compile(r"__[^_\n]+__"))


class Style(NamedTuple):
    """What is counted in an answer. `length`: in tokens where the file says so, else characters."""

    length: int
    headers: int
    ordered: int
    unordered: int
    bold: int

    @property
    def lists(self) -> int:
        """Items of both kinds of lists."""
        return self.ordered + self.unordered


def style_of(answer: str, length: int | None = None) -> Style:
    """Count an answer's headers, list items and bold passages outside code blocks."""
    text = _CODE.sub("", answer)
    return Style(
        len(answer) if length is None else length,
        len(_HEADER.findall(text)),
        len(_ORDERED.findall(text)),
        len(_UNORDERED.findall(text)),
        sum(len(bold.findall(text)) for bold in _BOLD),
    )


def difference(model: Style, baseline: Style) -> list[float]:
    """Return how two styles differ, in the order of `FEATURES`; 0 where they are alike.

    Length: the difference over the sum. The others: the difference of the counts per unit of
    length, over their sum and 1.
    """
    total = model.length + baseline.length
    found = [(model.length - baseline.length) / total if total else 0.0]
    for own, other in zip(_counts(model), _counts(baseline), strict=True):
        here, there = own / max(1, model.length), other / max(1, baseline.length)
        found.append((here - there) / (here + there + 1))
    return found


def _counts(style: Style) -> tuple[int, int, int]:
    return style.headers, style.lists, style.bold


class Answers(NamedTuple):
    """A model's answers: the style of each, by question."""

    model: str
    styles: dict[str, Style]


def read_answers(path: Path) -> Answers:
    """Read a file of answers of v0.1 ("choices") or v2.0 ("messages").

    Raises:
        DataError: a row has another form, or the file holds several models.
    """
    models: set[str] = set()
    styles: dict[str, Style] = {}
    for line, row in read_rows(path, "answers"):
        model = row.get("model", row.get("model_id"))
        question, answer = row.get("uid", row.get("question_id")), _answer(row)
        if not (isinstance(model, str) and isinstance(question, str) and answer is not None):
            what = 'expected "uid", "model", "messages" or "question_id", "model_id", "choices"'
            raise DataError(path, line, what)
        models.add(model)
        if len(models) > 1:
            raise DataError(path, line, f"a second model, {model}; one file for each")
        styles[question] = style_of(answer, _tokens(row))
    return Answers(models.pop(), styles)


def _answer(row: dict[str, Any]) -> str | None:
    try:
        if "messages" in row:
            said = row["messages"][-1]["content"]
            said = said["answer"] if isinstance(said, dict) else said
        else:
            said = row["choices"][0]["turns"][-1]["content"]
    except (KeyError, IndexError, TypeError):
        return None
    return said if isinstance(said, str) else None


def _tokens(row: dict[str, Any]) -> int | None:
    """Return the length that the file notes: "metadata" (v2.0), or of the turn (v0.1)."""
    noted: Any = row.get("metadata")
    if noted is None and "choices" in row:
        noted = row["choices"][0]["turns"][-1]
    value = noted.get("token_len") if isinstance(noted, dict) else None
    return value if isinstance(value, int) and value > 0 else None
