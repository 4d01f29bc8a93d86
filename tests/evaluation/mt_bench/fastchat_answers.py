"""Reading FastChat's answer files, to check what is written for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import DataError
from core.records import Generation
from evaluation.files.json_rows import read_rows
from evaluation.mt_bench.fastchat_files import NO_ANSWER
from evaluation.mt_bench.questions import answer_turns, question_number
from judges.fastchat_prompts import TURNS

if TYPE_CHECKING:
    from pathlib import Path


def read_answers(path: Path) -> list[Generation]:
    """Read answers (model_answer/<model>.jsonl, also gzipped), two rows per question.

    FastChat records neither the prompts, here "", nor token counts, here 0. An answer that says
    "$ERROR$" has the finish "failed" and no words; the others have "stop".

    Raises:
        DataError: the file is missing, a line is malformed, or a question is answered twice.
    """
    found: dict[str, Generation] = {}
    for line, row in read_rows(path, "answers"):
        question = question_number(row, path, line)
        for turn, text in zip(TURNS, answer_turns(row, path, line), strict=True):
            key = f"{question}/t{turn}"
            if key in found:
                raise DataError(path, line, f"question {question} is answered a second time")
            failed = text == NO_ANSWER
            found[key] = Generation(
                key=key,
                prompt_key=str(question),
                prompt="",
                text="" if failed else text,
                tokens=0,
                finish="failed" if failed else "stop",
                turn=turn,
            )
    return list(found.values())
