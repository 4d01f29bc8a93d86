"""The one reader of conversations and prompts: any source, any known shape of rows."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, Any

from core.errors import DataError
from core.sources import chat, open_assistant
from core.sources.chat import found_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from core.sources.source import Source
    from core.sources.thread import Thread

    Rows = Iterable[tuple[int, dict[str, Any]]]

EXPECTED = (
    f"expected {', '.join(shape.name for shape in chat.SHAPES)}, or Open Assistant's rows: a "
    "message tree ('prompt' as object), a flat message ('message_id', 'parent_id', 'text') or "
    "question/answer/rank"
)


def read_threads(
    source: Source, *, language: str | None, skipped: Counter[str] | None = None
) -> list[Thread]:
    """Return every thread of a source in its order; the first row tells the shape of all.

    Open Assistant's messages in other languages than `language` (None: any) are skipped. What is
    skipped is counted in `skipped` by reason.

    Raises:
        DataError: a row does not have its shape (named by line), or there is no row.
        ConfigError: the source does not exist.
    """
    skipped = Counter() if skipped is None else skipped
    rows = _of_split(source, skipped)
    first = next(rows, None)
    if first is None:
        why = f"no row of split {source.split!r}" if skipped else "the file is empty"
        raise DataError(source.origin, None, why)
    found = list(_threads(first, rows, source.origin, language, skipped))
    return found if source.split is None else [thread._replace(split=None) for thread in found]


def _of_split(source: Source, skipped: Counter[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows that belong to the source's split, of a file by what they say themselves."""
    for line, row in source.rows():
        if source.split is not None and row.get("split", source.split) != source.split:
            skipped["skipped_other_split"] += 1
        else:
            yield line, row


def _threads(
    first: tuple[int, dict[str, Any]],
    rest: Rows,
    origin: Path | str,
    language: str | None,
    skipped: Counter[str],
) -> Iterable[Thread]:
    line, row = first
    rows = chain([first], rest)
    if isinstance(row.get("prompt"), dict):
        return open_assistant.trees(rows, origin, language, skipped)
    if {"question", "answer", "rank"} <= row.keys():
        return open_assistant.answers(rows, origin)
    if {"message_id", "text"} <= row.keys():
        return open_assistant.messages(rows, origin, language, skipped)
    shape = chat.shape_of(row)
    if shape is None:
        raise DataError(origin, line, f"{EXPECTED}; found {found_in(row)}")
    return chat.threads(rows, shape, origin, skipped)


def read_prompts(
    source: Source, split: str, *, language: str | None, skipped: Counter[str] | None = None
) -> list[Thread]:
    """Return a source's prompts: those of `split` and those whose rows name none.

    Raises:
        DataError, ConfigError: as `read_threads`.
    """
    threads = read_threads(source, language=language, skipped=skipped)
    kept = []
    for thread in threads:
        if thread.split in (None, split):
            kept.append(thread)
        elif skipped is not None:
            skipped["skipped_other_split"] += 1
    return kept
