"""What the index keeps of a row: what it is called, what it belongs to, how it ended."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, NamedTuple

from core import records
from core.records import preferred
from core.reductions import item_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.records import (
        Annotation,
        Candidate,
        Example,
        Flag,
        Generation,
        ItemScore,
        JudgeExample,
        Judgment,
        LedgerRow,
        Measurement,
        Prompt,
        PromptCall,
        RankedPrompt,
        Score,
        Tag,
        TurnJudgment,
        Verdict,
    )

READ = "read"
KEPT = "kept"


class Facts(NamedTuple):
    """What rows are found, filtered and ordered by.

    `prompt`: the key of the prompt it is about (of a prompt-writing call, its number). `subject`:
    what it is a part of (a judgment's answer, one order's comparison), or "". `outcome`: how it
    ended, one word. `value`: its number. `length`: characters of its longest own words. `texts`:
    what a search looks into.
    """

    key: str
    prompt: str
    subject: str
    outcome: str
    value: float | None
    length: int
    texts: tuple[str, ...]


def facts_of(row: Any) -> Facts:
    """Return the facts of a record; of a kind not listed below, its key and its own words."""
    return _READERS.get(type(row), _any)(row)


def outcome_of(preference: float | None, missing: str | None) -> str:
    """Return "win", "loss" or "draw" of the model against the reference, or why there is none."""
    return preferred(preference) if preference is not None else missing or "missing"


def correctness(metrics: dict[str, float]) -> str:
    """Return "right" or "wrong" if every metric says so, "partly" otherwise, "missing" for none."""
    values = set(metrics.values())
    if not values:
        return "missing"
    if values <= {0.0, 1.0} and len(values) == 1:
        return "right" if 1.0 in values else "wrong"
    return "partly"


def _any(row: Any) -> Facts:
    values = [getattr(row, field.name) for field in fields(row)]
    texts = tuple(value for value in values if isinstance(value, str))
    return Facts(row.key, "", "", READ, None, max(map(len, texts), default=0), texts)


def _example(row: Example) -> Facts:
    ended = "ended" if row.ended else "cut"
    texts = (row.prompt, row.response)
    return Facts(row.key, row.key, "", ended, None, len(row.response), texts)


def _ranked(row: RankedPrompt) -> Facts:
    texts = (row.prompt, *(reply.text for reply in row.replies))
    return Facts(row.key, row.key, "", row.split, None, max(map(len, texts)), texts)


def _judge_example(row: JudgeExample) -> Facts:
    texts = (row.prompt, row.response, row.target)
    return Facts(row.key, row.key, "", row.source, row.score, len(row.target), texts)


def _call(row: PromptCall) -> Facts:
    return Facts(row.key, str(row.call), "", row.finish, None, len(row.text), (row.text,))


def _prompt(row: Prompt) -> Facts:
    texts = (row.text,)
    return Facts(row.key, row.key, "", row.rejected or KEPT, None, len(row.text), texts)


def _candidate(row: Candidate) -> Facts:
    return Facts(row.key, row.prompt_key, "", row.finish, None, len(row.text), (row.text,))


def _judgment(row: Judgment) -> Facts:
    outcome = row.unparsed or READ
    names = (row.key, row.prompt_key, row.subject_key)
    return Facts(*names, outcome, row.score, len(row.reply), (row.reply,))


def _verdict(row: Verdict) -> Facts:
    outcome = row.winner or row.unparsed or "missing"
    longest = max(map(len, row.replies), default=0)
    return Facts(row.key, row.prompt_key, item_key(row), outcome, None, longest, row.replies)


def _ledger(row: LedgerRow) -> Facts:
    gap = None
    if row.chosen_score is not None and row.rejected_score is not None:
        gap = row.chosen_score - row.rejected_score
    texts = (row.prompt, row.chosen or "", row.rejected or "")
    longest = max(map(len, texts[1:]))
    return Facts(row.key, row.key, "", row.outcome, gap, longest, texts)


def _measurement(row: Measurement) -> Facts:
    return Facts(row.key, "", "", READ if row.value is not None else "missing", row.value, 0, ())


def _generation(row: Generation) -> Facts:
    texts = (row.prompt, row.text)
    return Facts(row.key, row.prompt_key, "", row.finish, row.turn, len(row.text), texts)


def _annotation(row: Annotation) -> Facts:
    longest = max(len(row.output_1), len(row.output_2))
    texts = (row.instruction, row.output_1, row.output_2)
    outcome = outcome_of(row.preference, row.missing)
    return Facts(row.key, row.key, "", outcome, row.preference, longest, texts)


def _turn_judgment(row: TurnJudgment) -> Facts:
    question, outcome = str(row.question_id), row.unparsed or READ
    names = (row.key, question, f"{question}/t{row.turn}")
    return Facts(*names, outcome, row.score, len(row.reply), (row.reply,))


def _tag(row: Tag) -> Facts:
    outcome = row.unparsed or row.category or "missing"
    return Facts(row.key, row.key, "", outcome, row.complexity, len(row.reply), (row.reply,))


def _item(row: ItemScore) -> Facts:
    texts = tuple(text for text in row.detail.values() if isinstance(text, str))
    longest = max(map(len, texts), default=0)
    outcome = correctness(row.metrics)
    return Facts(row.key, row.key, row.task, outcome, None, longest, texts)


def _flag(row: Flag) -> Facts:
    texts = (row.prompt, row.text)
    return Facts(row.key, row.prompt_key, "", row.kind, row.overlap, len(row.text), texts)


def _score(row: Score) -> Facts:
    outcome = row.reason or (READ if row.value is not None else "missing")
    return Facts(row.key, "", "", outcome, row.value, 0, ())


_READERS: dict[type, Callable[[Any], Facts]] = {
    records.Example: _example,
    records.RankedPrompt: _ranked,
    records.JudgeExample: _judge_example,
    records.PromptCall: _call,
    records.Prompt: _prompt,
    records.Candidate: _candidate,
    records.Judgment: _judgment,
    records.Verdict: _verdict,
    records.LedgerRow: _ledger,
    records.Measurement: _measurement,
    records.Generation: _generation,
    records.Annotation: _annotation,
    records.TurnJudgment: _turn_judgment,
    records.Tag: _tag,
    records.ItemScore: _item,
    records.Flag: _flag,
    records.Score: _score,
}
