"""The judge prompts, each in a Markdown file whose comment gives range of scores and source."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from core.hashing import sha256_text

_PLACEHOLDER = re.compile(r"(<INSTRUCTION_HERE>|<RESPONSE_HERE>)")
_HEADER = re.compile(r"\A<!--\nScores: (?P<low>\d+) to (?P<high>\d+)\n.*?-->\n", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Rubric:
    """A pointwise judge prompt and the range of its scores."""

    name: str
    template: str
    low: float
    high: float

    def render(self, instruction: str, response: str) -> str:
        """Fill both placeholders in one pass, so that text that looks like one stays text."""
        values = {"<INSTRUCTION_HERE>": instruction, "<RESPONSE_HERE>": response}
        return "".join(values.get(part, part) for part in _PLACEHOLDER.split(self.template))


@lru_cache(maxsize=4)
def load_rubric(name: str) -> Rubric:
    """Return a rubric by its file's name; the comment at its top is no part of the prompt."""
    text = (Path(__file__).parent / f"{name}.md").read_text(encoding="utf-8")
    header = _HEADER.match(text)
    if header is None:
        raise ValueError(f"{name}.md must begin with a comment and 'Scores: LOW to HIGH'")
    return Rubric(name, text[header.end() :].strip(), float(header["low"]), float(header["high"]))


def rubric_source(name: str) -> dict[str, str]:
    """Return a rubric's name and content hash, for the keys of artifacts judged by it."""
    rubric = load_rubric(name)
    return {f"rubric:{rubric.name}": sha256_text(rubric.template)}
