"""The judge prompts: Markdown files that say in a comment at the top how to read the reply.

A rubric is named by a packaged file of this folder ("additive") or by the path of one's own (.md):

    <!--
    Scores: 1 to 10
    Form: Rating: [[<score>]]
    -->
    Rate the response to the instruction ... Conclude with "Rating: [[<score>]]".

    Instruction: <INSTRUCTION_HERE>

    Response: <RESPONSE_HERE>

`Scores` is the range, `Form` how the reply states the score ("Score: <score>" unless given); other
lines of the comment are for people. Everything below it is sent to the judge. Rubrics that compare
two answers are in judges/rubrics/pair_rubrics.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from core.errors import DataError
from core.hashing import sha256_text
from core.sections import PACKAGED_RUBRICS
from judges.replies import SCORE, ScoreForm

_FIELD = re.compile(r"<[A-Z_]+_HERE>")
_SCORES = re.compile(r"(?P<low>\d{1,3}) to (?P<high>\d{1,3})")
_FORM = re.compile(r"(?P<label>[A-Za-z][A-Za-z ]{0,39}):[ ](?P<open>\[\[)?<score>(?(open)\]\])")
_MOST_BYTES = 200_000
_MOST_SCORES = 100
INSTRUCTION, RESPONSE = "<INSTRUCTION_HERE>", "<RESPONSE_HERE>"


@dataclass(frozen=True, slots=True)
class Rubric:
    """A pointwise judge prompt, the range of its scores and how a reply states one."""

    name: str
    template: str
    low: float
    high: float
    form: ScoreForm = SCORE

    def render(self, instruction: str, response: str) -> str:
        """Fill both placeholders in one pass, so that text that looks like one stays text."""
        return fill(self.template, {INSTRUCTION: instruction, RESPONSE: response})

    @property
    def criteria(self) -> str:
        """The prompt without the lines that show the instruction and the response."""
        shown = (line for line in self.template.splitlines() if not _FIELD.search(line))
        return re.sub(r"\n{3,}", "\n\n", "\n".join(shown)).strip()

    @property
    def scale(self) -> tuple[float, float]:
        """The least and the greatest score."""
        return self.low, self.high


def fill(template: str, values: dict[str, str]) -> str:
    """Put texts in the place of a template's fields in one pass."""
    parts = re.split(f"({'|'.join(map(re.escape, values))})", template)
    return "".join(values.get(part, part) for part in parts)


class HeaderLine(NamedTuple):
    """One setting of a rubric's header and its line, from 1."""

    line: int
    value: str


class RubricFile(NamedTuple):
    """A rubric's file in parts: the settings of its header by name, and what is sent."""

    path: Path
    header: dict[str, list[HeaderLine]]
    template: str
    first_line: int

    def need_fields(self, *fields: str) -> None:
        """Check that each field stands in the text once, and no other does; raises `DataError`."""
        lines = self.template.splitlines()
        found = [(at, f) for at, line in enumerate(lines) for f in _FIELD.findall(line)]
        for field in fields:
            if (count := sum(name == field for _, name in found)) != 1:
                what = f"{field} occurs {count} times in the text, expected once"
                raise DataError(self.path, self.first_line, what)
        for at, name in found:
            if name not in fields:
                what = f"unknown field {name}; expected {', '.join(fields)}"
                raise DataError(self.path, self.first_line + at, what)


def rubric_path(name: str) -> Path:
    """Return the file of a rubric: a packaged one by its name, or one's own by its path."""
    packaged = Path(__file__).parent / f"{name}.md"
    return packaged if packaged.is_file() and "/" not in name else Path(name).expanduser()


def read_rubric_file(path: Path, *known: str) -> RubricFile:
    """Return the parts of a rubric's file; `known` are the settings that its header may have.

    Raises:
        DataError: there is no such file, it is no text, or it has no comment at its top.
    """
    if not path.is_file():
        raise DataError(path, None, "no such rubric; give the path of a Markdown file")
    with path.open("rb") as file:
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise DataError(path, None, f"a rubric has at most {_MOST_BYTES:,} bytes")
    try:
        lines = data.decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(path, line, f"not UTF-8 at byte {error.start}") from None
    end = next((at for at, line in enumerate(lines) if line.strip() == "-->"), None)
    if lines[0].strip() != "<!--" or end is None:
        what = "expected a comment at the top: '<!--', 'Scores: 1 to 5', '-->', each on a line"
        raise DataError(path, 1, what)
    header: dict[str, list[HeaderLine]] = {}
    for number, text in enumerate(lines[1:end], start=2):
        name, colon, value = text.partition(":")
        if colon and name in known:
            header.setdefault(name, []).append(HeaderLine(number, value.strip()))
    sent = "\n".join(lines[end + 1 :])
    before = len(sent) - len(sent.lstrip())
    first_line = end + 2 + sent[:before].count("\n")
    return RubricFile(path, header, sent.strip(), first_line)


def load_rubric(name: str) -> Rubric:
    """Return a rubric by the name or path of its file.

    Raises:
        DataError: there is no such file, or it does not say what it should; names the line.
    """
    return _packaged(name) if name in PACKAGED_RUBRICS else _load(name, rubric_path(name))


@lru_cache(maxsize=8)
def _packaged(name: str) -> Rubric:
    return _load(name, rubric_path(name))


def _load(name: str, path: Path) -> Rubric:
    file = read_rubric_file(path, "Scores", "Form")
    low, high = _range(file)
    form = _form(file)
    file.need_fields(INSTRUCTION, RESPONSE)
    if form.label.lower() not in file.template.lower():
        what = (
            f"the text never asks for '{form.lead}<score>{form.close}', so no reply will have it; "
            "say in the text how to conclude, or give the header another 'Form:'"
        )
        raise DataError(path, file.first_line, what)
    return Rubric(name if name in PACKAGED_RUBRICS else path.stem, file.template, low, high, form)


def _range(file: RubricFile) -> tuple[float, float]:
    wanted = "expected one line 'Scores: LOW to HIGH' with whole numbers, such as 'Scores: 1 to 10'"
    given = file.header.get("Scores", [])
    if len(given) != 1:
        line = given[1].line if given else 1
        raise DataError(file.path, line, f"the header has {len(given)} ranges; {wanted}")
    line, value = given[0]
    found = _SCORES.fullmatch(value)
    if found is None or not 0 < int(found["high"]) - int(found["low"]) <= _MOST_SCORES:
        raise DataError(file.path, line, f"'Scores: {value}': {wanted}")
    return float(found["low"]), float(found["high"])


def _form(file: RubricFile) -> ScoreForm:
    given = file.header.get("Form", [])
    if not given:
        return SCORE
    line, value = given[-1]
    found = _FORM.fullmatch(value.strip("\"'"))
    if found is None or len(given) > 1:
        what = f"'Form: {value}': expected one, like 'Score: <score>' or 'Rating: [[<score>]]'"
        raise DataError(file.path, line, what)
    return ScoreForm(found["label"], brackets=bool(found["open"]))


def rubric_source(name: str) -> dict[str, str]:
    """Return a rubric's name and content hash, for the keys of artifacts judged by it.

    Of one's own, how scores are read is part of the content.
    """
    rubric = load_rubric(name)
    if name in PACKAGED_RUBRICS:
        return {f"rubric:{rubric.name}": sha256_text(rubric.template)}
    read = f"{rubric.low:g} to {rubric.high:g}, {rubric.form.lead}<score>{rubric.form.close}"
    return {f"rubric:{rubric.name}": sha256_text(f"{read}\n{rubric.template}")}
