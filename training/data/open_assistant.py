"""Readers of Open Assistant data in its common formats.

Message trees (one JSON object per tree), flat messages (the hub's rows, linked by parent_id), and
question/answer/rank rows all become threads: a first-turn prompt with its direct replies.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from core import hashing
from core.errors import ConfigError, DataError
from core.jsonl import read_objects
from core.records import Reply
from core.stages import project_root

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_FILES = (".jsonl", ".json", ".gz")  # "data/ift.jsonl" is a file that is missing, no hub name
_MAX_SCORE = 5.0

PACKAGED = ("sample", "verifiable")
"""The folders of data/."""
IFT_SAMPLE = "ift.trees.jsonl"
EFT_SAMPLE = "eft.trees.jsonl"
PROMPTS_SAMPLE = "prompts.trees.jsonl"


class Thread(NamedTuple):
    """A first turn and its direct replies that were not deleted; `rank` None: not ranked.

    `split` is the file's own ("train", "eval", "validation"), None if it has none.
    """

    key: str
    prompt: str
    replies: tuple[RankedReply, ...]
    split: str | None


class RankedReply(NamedTuple):
    """A reply as in the source; only the packaged sample has `score` and `justification`."""

    text: str
    rank: int | None
    score: float | None = None
    justification: str | None = None


def resolve(source: str, sample_file: str) -> Path | None:
    """Return the file or folder of a source, None for a hub data set.

    `sample_file`: its name in the packaged sample; other packaged sets have a file of its role.

    Raises:
        ConfigError: it is neither an existing path nor a hub name.
        DataError: the file is empty.
    """
    if source in PACKAGED:
        role, _, _ = sample_file.partition(".")
        (path,) = (project_root() / "data" / source).glob(f"{role}.*")
        return path
    path = Path(source).expanduser()
    if path.is_file() and not path.stat().st_size:
        raise DataError(path, None, "the file is empty")
    if path.exists():
        return path
    if _HUB_NAME.fullmatch(source) and not source.startswith(".") and path.suffix not in _FILES:
        return None
    raise ConfigError(
        f"{source}: no such file; give an existing path, {' or '.join(map(repr, PACKAGED))}, or a "
        "hub name (owner/name)"
    )


def source_hash(source: str, sample_file: str) -> dict[str, str]:
    """Return the source's name and content hash, for an artifact's key.

    A hub data set is identified by its name alone; the artifact holds the rows that were read.
    """
    path = resolve(source, sample_file)
    if path is None:
        return {f"hub:{source}": hashing.sha256_text(source)}
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
        return {f"file:{path.name}": hashing.sha256_json([hashing.sha256_file(f) for f in files])}
    return {f"file:{path.name}": hashing.sha256_file(path)}


def read_threads(
    source: str, sample_file: str, *, language: str, skipped: Counter[str] | None = None
) -> list[Thread]:
    """Read every first turn in `language` with its replies, in the order of the source.

    Skipped messages are counted in `skipped` by reason.

    Raises:
        DataError: a file is missing, or a line does not have its format (named by line).
        ConfigError: the source does not exist.
    """
    skipped = Counter() if skipped is None else skipped
    path = resolve(source, sample_file)
    if path is None or path.is_dir():
        hub_rows = _hub_rows(source if path is None else str(path))
        return _from_messages(hub_rows, Path(source), language, skipped)
    rows = list(read_objects(path))
    if not rows:
        raise DataError(path, None, "the file is empty")
    first = rows[0][1]
    if isinstance(first.get("prompt"), str):
        return list(_from_prompts(rows, path))
    if "prompt" in first:
        return list(_from_trees(rows, path, language, skipped))
    if {"question", "answer", "rank"} <= first.keys():
        return _from_answers(rows, path)
    if {"message_id", "text"} <= first.keys():
        return _from_messages(rows, path, language, skipped)
    raise DataError(
        path,
        rows[0][0],
        "not an Open Assistant row: expected a message tree ('prompt' with 'replies'), a prompt "
        "('prompt' as text), a flat "
        "message ('message_id', 'parent_id', 'text') or question/answer/rank; "
        f"found {sorted(first)}",
    )


def _hub_rows(name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    from datasets import load_dataset

    try:
        data = load_dataset(name, split="train")
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(name, None, f"cannot load the data set ({reason})") from error
    yield from enumerate(data, start=1)


def _from_trees(
    rows: Iterable[tuple[int, dict[str, Any]]], path: Path, language: str, skipped: Counter[str]
) -> Iterator[Thread]:
    for line, row in rows:
        root = row.get("prompt")
        if not isinstance(root, dict):
            raise DataError(path, line, "field 'prompt' is not a message object")
        if _is_skipped(root, language, skipped):
            continue
        messages = root.get("replies") or []
        if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
            raise DataError(path, line, "field 'replies' is not a list of message objects")
        answers = [m for m in messages if not _is_skipped(m, language, skipped)]
        replies = tuple(_reply(message, path, line) for message in answers)
        key = row.get("message_tree_id") or root.get("message_id")
        prompt = _text(root, path, line)
        yield Thread(str(key or _text_key(prompt)), prompt, replies, row.get("split"))


def _from_prompts(rows: Iterable[tuple[int, dict[str, Any]]], path: Path) -> Iterator[Thread]:
    """Read prompts without replies: objects with "prompt", and perhaps "key" and "split"."""
    for line, row in rows:
        prompt = _text({"text": row.get("prompt")}, path, line)
        yield Thread(str(row.get("key", _text_key(prompt))), prompt, (), row.get("split"))


def _from_messages(
    rows: Iterable[tuple[int, dict[str, Any]]], path: Path, language: str, skipped: Counter[str]
) -> list[Thread]:
    """Join flat messages; a reply's parent may come before or after it in the file.

    A message whose parent is null or absent (exports without nulls) is a first turn.
    """
    roots: dict[str, str] = {}
    replies: dict[str, list[RankedReply]] = defaultdict(list)
    for line, row in rows:
        if _is_skipped(row, language, skipped):
            continue
        parent = row.get("parent_id")
        if row.get("message_id") is None:
            raise DataError(path, line, "field 'message_id' is missing: not a flat message")
        if parent is None:
            roots[str(row["message_id"])] = _text(row, path, line)
        elif row.get("role") == "assistant":
            replies[str(parent)].append(_reply(row, path, line))
    return [Thread(key, text, tuple(replies[key]), None) for key, text in roots.items()]


def _from_answers(rows: Iterable[tuple[int, dict[str, Any]]], path: Path) -> list[Thread]:
    """Group question/answer/rank rows by question; these files have no language field."""
    grouped: dict[str, list[RankedReply]] = defaultdict(list)
    for line, row in rows:
        question = _text({"text": row.get("question")}, path, line)
        grouped[question].append(_reply({**row, "text": row.get("answer")}, path, line))
    return [Thread(_text_key(q), q, tuple(found), None) for q, found in grouped.items()]


def _is_skipped(message: dict[str, Any], language: str, skipped: Counter[str]) -> bool:
    if message.get("deleted"):
        skipped["skipped_deleted_messages"] += 1
        return True
    if message.get("lang", language) != language:
        skipped["skipped_messages_in_other_languages"] += 1
        return True
    return False


def _text(message: dict[str, Any], path: Path, line: int) -> str:
    text = message.get("text")
    if not isinstance(text, str) or not text.strip():
        raise DataError(path, line, f"message text is {text!r}, expected a non-empty string")
    return text


def _reply(message: dict[str, Any], path: Path, line: int) -> RankedReply:
    rank = message.get("rank")
    if rank is not None and (isinstance(rank, bool) or not _is_whole(rank) or rank < 0):
        raise DataError(path, line, f"rank {rank!r} is not a whole number from 0 (0 is the best)")
    score = message.get("score")
    if score is not None and not (
        isinstance(score, int | float) and not isinstance(score, bool) and 0 <= score <= _MAX_SCORE
    ):
        raise DataError(
            path, line, f"score {score!r} is not in 0..5; see judges/rubrics/additive.md"
        )
    return RankedReply(
        _text(message, path, line),
        None if rank is None else int(rank),
        None if score is None else float(score),
        message.get("justification"),
    )


def _is_whole(value: object) -> bool:
    return isinstance(value, int) or (isinstance(value, float) and value.is_integer())


def _text_key(text: str) -> str:
    return hashing.short(hashing.sha256_text(text))


def ranked_replies(thread: Thread) -> tuple[Reply, ...]:
    """Return the replies that humans ranked, best first, keyed by thread and place."""
    ranked = [
        Reply(f"{thread.key}/r{place}", r.text, r.rank, r.score, r.justification)
        for place, r in enumerate(thread.replies)
        if r.rank is not None
    ]
    return tuple(sorted(ranked, key=lambda reply: reply.rank))
