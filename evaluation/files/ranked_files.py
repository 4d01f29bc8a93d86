"""Agreement metrics of a file of ranked, scored replies: `srlm-eval agreement --ranked FILE`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from core.errors import DataError
from evaluation.agreement.benchmark import baselines
from evaluation.agreement.order_metrics import PERFECT, ScoredReplies, measure
from evaluation.files.json_rows import number, number_or_missing, read_rows

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
    """A file's instructions, and their replies' lengths in characters if all have a text."""

    prompts: list[ScoredReplies]
    lengths: dict[str, list[int]] | None


class _Reply(NamedTuple):
    rank: float
    score: float | None
    length: int | None


def report(path: Path, *, seed: int = 0, perfect: float = PERFECT) -> dict[str, Any]:
    """Return the metrics of a file of ranked replies, their intervals and baselines, as JSON.

    Instructions whose replies all have one rank are left out and counted. A score of null is
    missing, never 0.

    Raises:
        DataError: a row cannot be read, or no instruction has two differently ranked replies.
    """
    prompts, lengths = read_ranked(path)
    kept = [prompt for prompt in prompts if prompt.comparable]
    if not kept:
        raise DataError(path, None, "no instruction here has two differently ranked replies")
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
    return RankedFile(prompts, lengths if complete else None)


def _list(path: Path, line: int, row: dict[str, Any]) -> list[dict[str, Any]]:
    found = row["replies"]
    if not isinstance(found, list) or not all(isinstance(reply, dict) for reply in found):
        raise DataError(path, line, f"replies is not a list of objects; {_EXPECTED}")
    return found


def _reply(path: Path, line: int, row: dict[str, Any]) -> _Reply:
    text = next((row[f] for f in _TEXT_FIELDS if isinstance(row.get(f), str)), None)
    return _Reply(
        number(path, line, row, "rank"),
        number_or_missing(path, line, row, "score"),
        None if text is None else len(text),
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
