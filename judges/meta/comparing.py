"""Comparing the judgments of one answer: which are compared, and what the meta-judge is shown."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations
from statistics import pvariance
from typing import TYPE_CHECKING, NamedTuple

from core.errors import DataError
from core.hashing import sha256_text
from core.records import user
from judges.pairwise import AnswerPair, rubric_prompt
from judges.rubrics import INSTRUCTION, RESPONSE, fill, read_rubric_file, rubric_path
from judges.rubrics.pair_rubrics import PairRubric, verdicts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from core.records import Judgment, Message
    from judges.pairwise import PairPrompt
    from judges.pointwise import JudgedAnswer
    from judges.rubrics import Rubric

PACKAGED = "meta"
RUBRIC = "<RUBRIC_HERE>"
JUDGMENT_A, JUDGMENT_B = "<JUDGMENT_A_HERE>", "<JUDGMENT_B_HERE>"
_TWO = 2


class Disputed(NamedTuple):
    """An answer about which its judge disagrees with itself, and the judgments to be compared."""

    answer: JudgedAnswer
    judgments: tuple[Judgment, ...]


def most_disputed(
    answers: Sequence[JudgedAnswer], judgments: Iterable[Judgment]
) -> dict[str, Disputed]:
    """Return, for each prompt, the answer whose scores have the greatest variance.

    Only whole judgments with a score in their words count, and each wording once. Prompts whose
    answers all have fewer than two of them, or the same scores, are left out; of equal variances
    the first answer is taken.
    """
    found: dict[str, list[Judgment]] = defaultdict(list)
    for judgment in sorted(judgments, key=lambda j: (j.subject_key, j.draw)):
        if judgment.score is not None and judgment.said is not None and not judgment.cut:
            found[judgment.subject_key].append(judgment)
    best: dict[str, tuple[float, Disputed]] = {}
    for answer in answers:
        kept = {j.reply.strip(): j for j in reversed(found[answer.key])}
        usable = tuple(sorted(kept.values(), key=lambda j: j.draw))
        spread = pvariance([j.score or 0.0 for j in found[answer.key]]) if len(usable) > 1 else 0.0
        if spread > best.get(answer.prompt_key, (0.0, None))[0]:
            best[answer.prompt_key] = spread, Disputed(answer, usable)
    return {key: disputed for key, (_, disputed) in best.items()}


def comparisons(disputed: Iterable[Disputed]) -> list[AnswerPair]:
    """Return every two judgments of each answer, to be shown in both orders."""
    return [
        AnswerPair(
            f"{answer.key}/m{a.draw}-{b.draw}", answer.prompt, a.key, b.key, a.reply, b.reply,
            answer.prompt_key,
        )
        for answer, judgments in disputed
        for a, b in combinations(judgments, _TWO)
    ]  # fmt: skip


def meta_prompt(
    name: str, rubric: Rubric, disputed: Mapping[str, Disputed], reading: str
) -> PairPrompt:
    """Return what the meta-judge is shown; `disputed` maps the keys of prompts to answers.

    Raises:
        DataError: the prompt's file does not say what it should; names the line.
    """
    template = _load(name)

    def messages(item: AnswerPair) -> list[Message]:
        answer = disputed[item.prompt_key].answer
        values = {
            RUBRIC: rubric.criteria,
            INSTRUCTION: answer.prompt,
            RESPONSE: answer.response,
            JUDGMENT_A: item.answer_a,
            JUDGMENT_B: item.answer_b,
        }
        return user(fill(template.template, values))

    return rubric_prompt(template, messages, reading)


def meta_prompt_source(name: str) -> dict[str, str]:
    """Return the content hash of the meta-judge's prompt, for keys."""
    rubric = _load(name)
    text = f"{' | '.join(rubric.spellings)}\n{rubric.template}"
    return {f"meta_rubric:{rubric.name}": sha256_text(text)}


def check_meta_prompt(name: str, reading: str) -> None:
    """Check that a meta-judge's prompt can be used; raises `DataError`, `ConfigError`."""
    rubric = _load(name)
    if reading == "expected":
        _ = rubric.form


def _load(name: str) -> PairRubric:
    file = read_rubric_file(rubric_path(name), "Verdicts")
    file.need_fields(RUBRIC, INSTRUCTION, RESPONSE, JUDGMENT_A, JUDGMENT_B)
    verdicts = verdicts_of(file)
    if "tie" in verdicts.values():
        raise DataError(file.path, 1, "a meta-judge names one of two judgments; list two verdicts")
    return PairRubric(file.path.stem, file.template, verdicts)
