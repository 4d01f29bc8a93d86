"""Real texts for the workloads (SRLM_SHARED, default ../shared)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from core.records import user
from core.stages import project_root
from judges.rubrics import load_rubric

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.records import Message

_OASST = Path("oasst") / "oasst2_ranked_first_turns.jsonl"
_SEEDS = Path("self_instruct") / "seed_tasks.jsonl"
# Answers of about the length that a small model gives: rubric and answer come to some 450 tokens.
_ANSWER_CHARACTERS = range(100, 500)
_QUESTION_CHARACTERS = 250


class NotHere(Exception):
    """Data or a package that a workload needs is not on this machine."""


class Answered(NamedTuple):
    """An instruction and an answer to it."""

    question: str
    answer: str


def shared_folder() -> Path:
    """Return the folder of real data.

    Raises:
        NotHere: there is none.
    """
    folder = Path(os.environ.get("SRLM_SHARED", project_root().parent / "shared"))
    if not (folder / "data").is_dir():
        raise NotHere(f"no real data at {folder}; set SRLM_SHARED to its folder")
    return folder


def shared_file(relative: Path | str) -> Path:
    """Return a file or folder of the real data.

    Raises:
        NotHere: it is not there.
    """
    path = shared_folder() / "data" / relative
    if not path.exists():
        raise NotHere(f"no {path}")
    return path


def judge_prompts(count: int) -> list[list[Message]]:
    """Return the first `count` OpenAssistant answers of medium length under the rubric.

    Raises:
        NotHere: the file is absent or has too few.
    """
    rubric = load_rubric("additive")
    found = [
        user(rubric.render(question, answer))
        for question, answer in _answered()
        if len(question) <= _QUESTION_CHARACTERS and len(answer) in _ANSWER_CHARACTERS
    ]
    return _first(found, count, _OASST)


def instructions(count: int) -> list[list[Message]]:
    """Return the first `count` of self-instruct's seed tasks, with their inputs.

    Raises:
        NotHere: the file is absent or has too few.
    """
    found = []
    for row in _json_lines(_SEEDS):
        text = "\n\n".join(filter(None, (row["instruction"], row["instances"][0]["input"])))
        found.append(user(text))
    return _first(found, count, _SEEDS)


def _first(found: list[list[Message]], count: int, source: Path) -> list[list[Message]]:
    if len(found) < count:
        raise NotHere(f"{source} has {len(found)} fitting rows, {count} are wanted")
    return found[:count]


def ranked_answers() -> dict[str, list[str]]:
    """Return each OpenAssistant question's answers, best first, where there are two or more.

    Raises:
        NotHere: the file is absent.
    """
    found: dict[str, list[tuple[float, str]]] = {}
    for row in _json_lines(_OASST):
        if row["rank"] is not None:
            found.setdefault(row["question"], []).append((row["rank"], row["answer"]))
    return {
        question: [answer for _, answer in sorted(ranked)]
        for question, ranked in found.items()
        if len(ranked) > 1
    }


def _answered() -> Iterator[Answered]:
    for row in _json_lines(_OASST):
        yield Answered(row["question"], row["answer"])


def _json_lines(relative: Path) -> Iterator[dict[str, Any]]:
    with shared_file(relative).open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
