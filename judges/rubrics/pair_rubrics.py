"""Rubrics that compare two answers: Markdown files whose header lists the possible verdicts.

    <!--
    Verdicts: [[A]] | [[B]] | [[C]]
    -->
    Which response follows the instruction better? Conclude with [[A]], [[B]] or, for a tie, [[C]].
    ...
    <INSTRUCTION_HERE> ... <RESPONSE_A_HERE> ... <RESPONSE_B_HERE>

The verdicts are for the answer shown first, for the one shown second and, if there is a third, for
a tie. A further `Verdicts` line adds another spelling of the same ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.errors import ConfigError, DataError
from core.hashing import sha256_text
from core.thinking import after_thought
from judges.distribution import Form
from judges.replies import Parsed, Winner
from judges.rubrics import INSTRUCTION, fill, read_rubric_file, rubric_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from judges.rubrics import RubricFile

RESPONSE_A, RESPONSE_B = "<RESPONSE_A_HERE>", "<RESPONSE_B_HERE>"
_WINNERS: tuple[Winner, ...] = ("A", "B", "tie")
_WORTH = {"A": 1.0, "B": 0.0, "tie": 0.5}
_TWO = 2
_MARKS = re.compile(r"[*_`]+")
_BRACKETED = re.compile(r"\[([^\[\]|]*)\]")  # not the format itself: "[A | B]"


@dataclass(frozen=True, slots=True)
class PairRubric:
    """A judge prompt that shows two answers; `spellings` maps each verdict's words to the winner.

    The first spelling of each winner is the one that is asked for.
    """

    name: str
    template: str
    spellings: dict[str, Winner]

    def render(self, instruction: str, answer_a: str, answer_b: str) -> str:
        """Fill the fields in one pass, with A shown first."""
        values = {INSTRUCTION: instruction, RESPONSE_A: answer_a, RESPONSE_B: answer_b}
        return fill(self.template, values)

    def read(self, reply: str, *, cut: bool = False) -> Parsed[Winner]:
        """Read the last verdict of a reply; case, line breaks and Markdown marks do not count.

        A reply `cut` off by the token limit with different verdicts in it has none.
        """
        text = self._bare(_plain(after_thought(reply).text))
        if not text:
            return Parsed(None, "cut_off" if cut else "empty")
        known = {_plain(words): winner for words, winner in self.spellings.items()}
        longest_first = sorted(known, key=len, reverse=True)
        pattern = "|".join(rf"(?<!\w){re.escape(words)}(?!\w)" for words in longest_first)
        found = [known[match] for match in re.findall(pattern, text)]
        if not found or (cut and len(set(found)) > 1):
            return Parsed(None, "cut_off" if cut else "no_score")
        return Parsed(found[-1], None)

    def _bare(self, text: str) -> str:
        """Return "winner: [judgement a]" without brackets, unless the verdicts have brackets."""
        bracketed = any("[" in words for words in self.spellings)
        return text if bracketed else _BRACKETED.sub(r"\1", text)

    @property
    def form(self) -> Form:
        """Where the verdict stands and what each is worth, for verdicts read as expected values.

        Raises:
            ConfigError: the verdicts do not begin alike, or one begins like another.
        """
        first = {winner: words for words, winner in reversed(self.spellings.items())}
        asked = {winner: first[winner] for winner in _WINNERS if winner in first}
        lead = _common([*asked.values()])
        close = _common([words[len(lead) :][::-1] for words in asked.values()])[::-1]
        rests = {w[len(lead) : len(w) - len(close)]: _WORTH[by] for by, w in asked.items()}
        if not lead.strip() or any(a != b and a.startswith(b) for a in rests for b in rests):
            message = (
                f"rubric {self.name}: reading = 'expected' needs verdicts that begin alike and "
                "then differ, such as 'Verdicts: [[A]] | [[B]]'"
            )
            raise ConfigError(message)
        ends = "|".join(map(re.escape, rests))
        place = re.compile(rf"{re.escape(lead)}(?={ends}|\Z)", re.IGNORECASE)
        return Form(f"verdicts {'|'.join(asked.values())}", lead, place, rests, close)


def _common(texts: Sequence[str]) -> str:
    """Return what all texts begin with."""
    differ = (at for at, letters in enumerate(zip(*texts, strict=False)) if len({*letters}) > 1)
    return texts[0][: next(differ, min(map(len, texts)))]


def _plain(text: str) -> str:
    return " ".join(_MARKS.sub("", text).casefold().split())


def load_pair_rubric(name: str) -> PairRubric:
    """Return a rubric that compares two answers, by its path.

    Raises:
        DataError: there is no such file, or it does not say what it should; names the line.
    """
    file = read_rubric_file(rubric_path(name), "Verdicts")
    file.need_fields(INSTRUCTION, RESPONSE_A, RESPONSE_B)
    return PairRubric(file.path.stem, file.template, verdicts_of(file))


def verdicts_of(file: RubricFile) -> dict[str, Winner]:
    """Return the winner of each verdict that a rubric's header lists; raises `DataError`."""
    wanted = "expected 'Verdicts: FIRST | SECOND' or 'FIRST | SECOND | TIE', each in its own words"
    found: dict[str, Winner] = {}
    for line, value in file.header.get("Verdicts", []):
        words = [part.strip() for part in value.split("|")]
        if not _TWO <= len(words) <= len(_WINNERS) or not all(map(_plain, words)):
            raise DataError(file.path, line, f"'Verdicts: {value}': {wanted}")
        found |= dict(zip(words, _WINNERS, strict=False))
        if len({_plain(one) for one in words}) < len(words):
            raise DataError(file.path, line, f"'Verdicts: {value}' names one twice: {wanted}")
    if not found:
        raise DataError(file.path, 1, f"the header has no verdicts; {wanted}")
    text = _plain(file.template)
    plain = text.replace("[", "") if not any("[" in words for words in found) else text
    if not any(_plain(words) in plain for words in found):
        what = f"the text never asks for {' or '.join(found)}; say in it how to conclude"
        raise DataError(file.path, file.first_line, what)
    return found


def pair_rubric_source(name: str) -> dict[str, str]:
    """Return the content hash of one's own pair rubric, for keys; {} for the packaged prompts."""
    if not name.endswith(".md"):
        return {}
    rubric = load_pair_rubric(name)
    text = f"{' | '.join(rubric.spellings)}\n{rubric.template}"
    return {f"pair_rubric:{rubric.name}": sha256_text(text)}
