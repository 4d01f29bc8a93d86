from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import DataError
from core.jsonl import read_objects
from core.stages import project_root
from judges import verifiers

PROMPTS = project_root() / "data" / "verifiable" / "prompts.jsonl"


def written(folder: Path, *rows: object) -> Path:
    path = folder / "prompts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read_checks(path: Path) -> Any:
    return verifiers.read_checks(read_objects(path), path)


def test_answers_are_checked_by_the_prompts_text(tmp_path: Path) -> None:
    checks = read_checks(written(
        tmp_path,
        {"prompt": " Two and two? ", "answer": 4},
        {"question": "How many eggs?", "answer": "9 + 9 = 18\n#### 18"},
    ))  # fmt: skip
    assert checks["Two and two?"]("It makes 4.") == (True, "Final answer: 4; expected: 4")
    assert checks["How many eggs?"]("17") == (False, "Final answer: 17; expected: 18")
    assert checks["How many eggs?"]("Many.") == (False, "Final answer: none; expected: 18")


def test_the_packaged_task_says_which_instruction_is_not_followed() -> None:
    checks = read_checks(PROMPTS)
    prompt = "What do you know about rain? Use lower case letters only."
    assert checks[prompt]("rain is water.") == (True, "change_case:english_lowercase: followed")
    assert checks[prompt]("Rain is water.") == (
        False, "change_case:english_lowercase: not followed"
    )  # fmt: skip


def test_a_row_without_an_answer_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, {"prompt": "a", "answer": "1"}, {"prompt": "b"})
    with pytest.raises(DataError, match=r'prompts\.jsonl:2: a verifier needs "prompt" with the'):
        read_checks(path)
    (tmp_path / "prompts.jsonl").write_text("")
    with pytest.raises(DataError, match="there are no rows"):
        read_checks(path)
