from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from core.errors import DataError
from evaluation.arena_hard.style import Style, difference, read_answers, style_of

if TYPE_CHECKING:
    from pathlib import Path

ANSWER = """# Title
Some **bold** and __more__ text.

1. one
2. two
  - under
* star
```
# no header
- no item **not bold**
```
###No header either
"""


def test_markdown_is_counted_outside_code_blocks() -> None:
    assert style_of(ANSWER, 40) == Style(40, headers=1, ordered=2, unordered=2, bold=2)


def test_differences_are_relative() -> None:
    # Length: (30 − 10) / 40. Headers: 3/30 and 1/10 are the same. Lists: 6/30 / (0.2 + 0 + 1).
    # Bold: (0 − 5/10) / (0 + 0.5 + 1).
    model, baseline = Style(30, 3, 4, 2, 0), Style(10, 1, 0, 0, 5)
    assert difference(model, baseline) == pytest.approx([0.5, 0.0, 0.2 / 1.2, -0.5 / 1.5])
    assert difference(model, model) == [0.0, 0.0, 0.0, 0.0]
    assert difference(Style(0, 0, 0, 0, 0), Style(0, 0, 0, 0, 0)) == [0.0, 0.0, 0.0, 0.0]


def test_a_hostile_answer_is_counted_in_linear_time() -> None:
    began = time.process_time()
    for text in ("*" * 200_000, "```" * 70_000, " " * 200_000, "\n" * 200_000, "__a" * 70_000):
        style_of(text)
    assert time.process_time() - began < 20


def test_both_versions_of_answers_are_read(tmp_path: Path) -> None:
    old = {"question_id": "q", "model_id": "m", "choices": [{"turns": [{"content": "# a"}]}]}
    new = {
        "uid": "r", "model": "m", "metadata": {"token_len": 7},
        "messages": [{"role": "user", "content": "?"}, {"content": {"answer": "- a"}}],
    }  # fmt: skip
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(old) + "\n" + json.dumps(new), encoding="utf-8")
    found = read_answers(path)
    assert found.model == "m"
    assert found.styles == {"q": Style(3, 1, 0, 0, 0), "r": Style(7, 0, 0, 1, 0)}
    path.write_text(json.dumps(old) + "\n" + json.dumps(new | {"model": "n"}), encoding="utf-8")
    with pytest.raises(DataError, match=":2: a second model, n"):
        read_answers(path)
    path.write_text(json.dumps(old | {"choices": []}), encoding="utf-8")
    with pytest.raises(DataError, match=':1: expected "uid"'):
        read_answers(path)
