"""Readers of Open Assistant data in its common formats.

Message trees (one JSON object per tree), flat messages (the hub's rows, linked by parent_id), and
question/answer/rank rows all become threads: a first-turn prompt with its direct replies.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from core.errors import DataError
from core.sources.thread import RankedReply, Thread, checked_text, text_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    Rows = Iterable[tuple[int, dict[str, Any]]]


def trees(
    rows: Rows, path: Path | str, language: str | None, skipped: Counter[str]
) -> Iterator[Thread]:
    """Read message trees; those of other languages and deleted ones are skipped and counted."""
    for line, row in rows:
        root = row.get("prompt")
        if not isinstance(root, dict):
            raise DataError(path, line, "field 'prompt' is not a message object")
        if _is_skipped(root, language, skipped):
            continue
        found = root.get("replies") or []
        if not isinstance(found, list) or not all(isinstance(m, dict) for m in found):
            raise DataError(path, line, "field 'replies' is not a list of message objects")
        kept = [m for m in found if not _is_skipped(m, language, skipped)]
        replies = tuple(_reply(message, path, line) for message in kept)
        key = row.get("message_tree_id") or root.get("message_id")
        prompt = checked_text(root.get("text"), path, line)
        yield Thread(str(key or text_key(prompt)), prompt, replies, row.get("split"))


def messages(
    rows: Rows, path: Path | str, language: str | None, skipped: Counter[str]
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
            roots[str(row["message_id"])] = checked_text(row.get("text"), path, line)
        elif row.get("role") == "assistant":
            replies[str(parent)].append(_reply(row, path, line))
    return [Thread(key, text, tuple(replies[key]), None) for key, text in roots.items()]


def answers(rows: Rows, path: Path | str) -> list[Thread]:
    """Group question/answer/rank rows by question; these files have no language field."""
    grouped: dict[str, list[RankedReply]] = defaultdict(list)
    for line, row in rows:
        question = checked_text(row.get("question"), path, line)
        grouped[question].append(_reply({**row, "text": row.get("answer")}, path, line))
    return [Thread(text_key(q), q, tuple(found), None) for q, found in grouped.items()]


def _is_skipped(message: dict[str, Any], language: str | None, skipped: Counter[str]) -> bool:
    if message.get("deleted"):
        skipped["skipped_deleted_messages"] += 1
        return True
    if language is not None and message.get("lang", language) != language:
        skipped["skipped_messages_in_other_languages"] += 1
        return True
    return False


def _reply(message: dict[str, Any], path: Path | str, line: int) -> RankedReply:
    rank = message.get("rank")
    if rank is not None and (isinstance(rank, bool) or not _is_whole(rank) or rank < 0):
        raise DataError(path, line, f"rank {rank!r} is not a whole number from 0 (0 is the best)")
    score = message.get("score")
    number = isinstance(score, int | float) and not isinstance(score, bool)
    if score is not None and not (number and math.isfinite(score)):
        raise DataError(path, line, f"score {score!r} is not a number")
    return RankedReply(
        checked_text(message.get("text"), path, line),
        None if rank is None else int(rank),
        None if score is None else float(score),
        message.get("justification"),
    )


def _is_whole(value: object) -> bool:
    return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
