"""Agreement metrics of a file of ranked, scored replies: `srlm-eval agreement --ranked FILE`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from core.errors import DataError
from core.progress import say
from evaluation.agreement.benchmark import baselines
from evaluation.agreement.order_metrics import PERFECT, ScoredReplies, measure
from evaluation.files.json_rows import number, number_or_missing, read_rows
from judges.replies import parse_score

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PROMPT_FIELDS = ("key", "prompt", "question", "instruction")
_TEXT_FIELDS = ("text", "answer", "response")
_EXPECTED = (
    'expected {"prompt", "replies": [{"rank", "score", "text"}]} or one row per reply: {"prompt", '
    '"rank", "score", "text"}'
)


class RankedFile(NamedTuple):
    """A file's instructions, and their replies' lengths in characters if all have a text.

    `judged`: how many rows have the judge's words where the reply's text is expected.
    """

    prompts: list[ScoredReplies]
    lengths: dict[str, list[int]] | None
    judged: int


class _Reply(NamedTuple):
    rank: float
    score: float | None
    length: int | None
    judged: bool


def report(path: Path, *, seed: int = 0, perfect: float = PERFECT) -> dict[str, Any]:
    """Return the metrics of a file of ranked replies, their intervals and baselines, as JSON.

    Instructions whose replies all have one rank are left out and counted. A score of null is
    missing, never 0.

    Raises:
        DataError: a row cannot be read, or no instruction has two differently ranked replies.
    """
    prompts, lengths, judged = read_ranked(path)
    kept = [prompt for prompt in prompts if prompt.comparable]
    left_out = _left_out(prompts)
    if not kept:
        what = f"no instruction here has two differently ranked replies: {left_out}"
        raise DataError(path, None, what)
    if left_out:
        say(f"warning: {path}: {left_out}")
    if judged:
        say(
            f'warning: {path}: the "response" of {judged} rows ends in their score, so it is taken '
            "for the judge's words; without the replies' texts there is no baseline of length"
        )
    found = measure(kept, perfect=perfect)
    chance = baselines(kept, lengths, seed=seed, perfect=perfect)
    values = {name: metric.value for name, metric in found.items()}
    rates = {"parse_rate": values.pop("scored_rate"), "tie_rate": values.pop("tie_rate")}
    return {
        "n_prompts": len(kept),
        "n_prompts_left_out": len(prompts) - len(kept),
        "n_replies": sum(len(prompt.replies) for prompt in kept),
        "n_pairs": found["tie_rate"].n,
        "n_pairs_untied": found["pairwise_accuracy/ties_excluded"].n,
        "n_perfect": found["five_best"].n,
        **rates,
        **_nested(values),
        "intervals": _nested(
            {name: m.interval._asdict() if m.interval else None for name, m in found.items()}
        ),
        "baselines": {who: _nested(numbers) for who, numbers in chance.items()},
    }


def read_ranked(path: Path) -> RankedFile:
    """Read a file of ranked replies; rows of one reply are grouped by prompt.

    Raises:
        DataError: a row cannot be read, or an instruction with its list of replies is repeated.
    """
    replies: dict[str, list[_Reply]] = {}
    whole: dict[str, int] = {}
    for line, row in read_rows(path):
        key = next((str(row[f]) for f in _PROMPT_FIELDS if row.get(f) is not None), None)
        if key is None or ("replies" not in row and "rank" not in row):
            what = "no prompt" if key is None else "neither replies nor rank"
            raise DataError(path, line, f"{what}; {_EXPECTED}")
        if key in whole or ("replies" in row and key in replies):
            what = f"the replies to {key[:60]!r} were given before, on line {whole.get(key, '?')}"
            raise DataError(path, line, what)
        if "replies" in row:
            whole[key] = line
            replies[key] = [_reply(path, line, reply) for reply in _list(path, line, row)]
        else:
            replies.setdefault(key, []).append(_reply(path, line, row))
    prompts = [
        ScoredReplies(key, tuple((reply.rank, reply.score) for reply in found))
        for key, found in replies.items()
    ]
    lengths: dict[str, list[int]] = {}
    for key, found in replies.items():
        lengths[key] = [reply.length for reply in found if reply.length is not None]
    complete = all(len(lengths[key]) == len(found) for key, found in replies.items())
    judged = sum(reply.judged for found in replies.values() for reply in found)
    return RankedFile(prompts, lengths if complete else None, judged)


def _left_out(prompts: list[ScoredReplies]) -> str | None:
    """Say how many instructions cannot be compared, and why; None if all can."""
    alone = sum(len(prompt.replies) == 1 for prompt in prompts)
    tied = sum(not prompt.comparable for prompt in prompts) - alone
    if not alone + tied:
        return None
    reasons = [f"{alone} with a single reply"] if alone else []
    reasons += [f"{tied} whose replies all have one rank"] if tied else []
    hint = "; is that the judge's prompt, with the reply in it, rather than the instruction?"
    return (
        f"{alone + tied} of {len(prompts)} prompts are left out: {', '.join(reasons)} (rows of one "
        f"prompt are found by {', '.join(_PROMPT_FIELDS)}{hint if alone else ''})"
    )


def _list(path: Path, line: int, row: dict[str, Any]) -> list[dict[str, Any]]:
    found = row["replies"]
    if not isinstance(found, list) or not all(isinstance(reply, dict) for reply in found):
        raise DataError(path, line, f"replies is not a list of objects; {_EXPECTED}")
    return found


def _reply(path: Path, line: int, row: dict[str, Any]) -> _Reply:
    text = next((row[f] for f in _TEXT_FIELDS if isinstance(row.get(f), str)), None)
    score = number_or_missing(path, line, row, "score")
    judged = (
        text is not None
        and score is not None
        and text == row.get("response")
        and (parse_score(text, low=score, high=score).value is not None)
    )
    return _Reply(
        number(path, line, row, "rank"),
        score,
        None if text is None or judged else len(text),
        judged,
    )


def _nested(flat: Mapping[str, object]) -> dict[str, Any]:
    """Turn "a/b" into a: {b}."""
    out: dict[str, Any] = {}
    for name, value in flat.items():
        group, slash, rest = name.partition("/")
        if slash:
            out.setdefault(group, {})[rest] = value
        else:
            out[group] = value
    return out
