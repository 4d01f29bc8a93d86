"""What the index keeps of a row: its key, what it belongs to, its outcome, value and texts."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, NamedTuple

from core import records
from core.records import preferred
from core.reductions import item_key

READ = "read"
KEPT = "kept"
MISSING = "missing"


class Facts(NamedTuple):
    """What rows are found, filtered and ordered by.

    `prompt`: the key of the prompt it is about (of a prompt-writing call, its number). `subject`:
    what it is a part of (a judgment's answer, one order's comparison), or "". `outcome`: one word.
    `value`: its number. `length`: characters of its longest own text. `texts`: what is searched.
    """

    key: str
    prompt: str
    subject: str
    outcome: str
    value: float | None
    length: int
    texts: tuple[str, ...]


def facts_of(row: Any) -> Facts:  # noqa: C901, PLR0911, PLR0912 - a case per kind of record
    """Return the facts of a record; of a kind not listed here, its key and its texts."""
    match row:
        case records.Example():
            ended = "ended" if row.ended else "cut"
            return _facts(row, row.response, given=(row.text,), outcome=ended)
        case records.RankedPrompt():
            texts = (row.prompt, *(reply.text for reply in row.replies))
            return _facts(row, *texts, outcome=row.split)
        case records.JudgeExample():
            given = (row.prompt, row.response)
            return _facts(row, row.target, given=given, outcome=row.source, value=row.score)
        case records.PromptCall():
            return _facts(row, row.text, prompt=str(row.call), outcome=row.finish)
        case records.Prompt():
            return _facts(row, row.transcript, outcome=row.rejected or KEPT)
        case records.Candidate():
            return _facts(row, row.text, prompt=row.prompt_key, outcome=row.finish)
        case records.Judgment():
            found = _facts(row, row.reply, outcome=row.unparsed or READ, value=row.score)
            return found._replace(prompt=row.prompt_key, subject=row.subject_key)
        case records.TurnJudgment():
            question = str(row.question_id)
            found = _facts(row, row.reply, outcome=row.unparsed or READ, value=row.score)
            return found._replace(prompt=question, subject=f"{question}/t{row.turn}")
        case records.Verdict():
            outcome = row.winner or row.unparsed or MISSING
            found = _facts(row, *row.replies, prompt=row.prompt_key, outcome=outcome)
            return found._replace(subject=item_key(row))
        case records.LedgerRow():
            gap = None
            if row.chosen_score is not None and row.rejected_score is not None:
                gap = row.chosen_score - row.rejected_score
            sides = (row.chosen or "", row.rejected or "")
            return _facts(row, *sides, given=(row.prompt,), outcome=row.outcome, value=gap)
        case records.JudgePair():
            sides = (row.chosen or "", row.rejected or "")
            found = _facts(row, *sides, given=(row.prompt,), outcome=row.outcome)
            return found._replace(prompt=row.key, subject=row.subject_key or "")
        case records.Generation():
            found = _facts(row, row.text, given=(row.prompt,), outcome=row.finish, value=row.turn)
            return found._replace(prompt=row.prompt_key)
        case records.Annotation():
            outputs = (row.output_1, row.output_2)
            outcome, value = outcome_of(row.preference, row.missing), row.preference
            return _facts(row, *outputs, given=(row.instruction,), outcome=outcome, value=value)
        case records.Tag():
            outcome = row.unparsed or row.category or MISSING
            return _facts(row, row.reply, outcome=outcome, value=row.complexity)
        case records.ItemScore():
            texts = tuple(text for text in row.detail.values() if isinstance(text, str))
            found = _facts(row, *texts, outcome=correctness(row.metrics))
            return found._replace(subject=row.task)
        case records.Flag():
            found = _facts(row, row.text, given=(row.prompt,), outcome=row.kind, value=row.overlap)
            return found._replace(prompt=row.prompt_key)
        case records.Score() | records.Measurement():
            reason = row.reason if isinstance(row, records.Score) else None
            outcome = reason or (READ if row.value is not None else MISSING)
            return _facts(row, prompt="", outcome=outcome, value=row.value)
    values = [getattr(row, field.name) for field in fields(row)]
    return _facts(row, *(value for value in values if isinstance(value, str)), prompt="")


def _facts(
    row: Any,
    *own: str,
    given: tuple[str, ...] = (),
    prompt: str | None = None,
    outcome: str = READ,
    value: float | None = None,
) -> Facts:
    """Return facts with the length of the longest `own` text; the row's key stands for a prompt."""
    about: str = row.key if prompt is None else prompt
    longest = max(map(len, own), default=0)
    return Facts(row.key, about, "", outcome, value, longest, (*given, *own))


def outcome_of(preference: float | None, missing: str | None) -> str:
    """Return "win", "loss" or "draw" of the model against the reference, or why there is none."""
    return preferred(preference) if preference is not None else missing or MISSING


def correctness(metrics: dict[str, float]) -> str:
    """Return "right" or "wrong" if every metric says so, "partly" otherwise, "missing" for none."""
    values = set(metrics.values())
    if not values:
        return MISSING
    if values <= {0.0, 1.0} and len(values) == 1:
        return "right" if 1.0 in values else "wrong"
    return "partly"
