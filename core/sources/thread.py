"""What every source is read as: a prompt, the turns before it, and replies to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from core.errors import DataError
from core.hashing import sha256_text, short
from core.records import Message, Reply, transcript, user

if TYPE_CHECKING:
    from pathlib import Path


class RankedReply(NamedTuple):
    """A reply as in the source; `score` and `justification` only where a message tree has them."""

    text: str
    rank: int | None
    score: float | None = None
    justification: str | None = None


class Thread(NamedTuple):
    """A user's turn and the replies to it; `rank` None: not ranked.

    `split` is the source's own ("train", "eval", "validation"), None if it has none. `before`: the
    system turn and the earlier turns of its conversation.
    """

    key: str
    prompt: str
    replies: tuple[RankedReply, ...]
    split: str | None
    before: tuple[Message, ...] = ()

    @property
    def text(self) -> str:
        """The prompt as one text, with the turns before it."""
        return transcript(self.before, self.prompt)

    @property
    def messages(self) -> list[Message]:
        """The conversation up to the replies."""
        return [*self.before, *user(self.prompt)]


def ranked_replies(thread: Thread) -> tuple[Reply, ...]:
    """Return the replies that humans ranked, best first, keyed by thread and place."""
    ranked = [
        Reply(f"{thread.key}/r{place}", r.text, r.rank, r.score, r.justification)
        for place, r in enumerate(thread.replies)
        if r.rank is not None
    ]
    return tuple(sorted(ranked, key=lambda reply: reply.rank))


def text_key(text: str) -> str:
    """Return the key of a row that has none of its own."""
    return short(sha256_text(text))


def checked_text(value: object, origin: Path | str, line: int, what: str = "message text") -> str:
    """Return text that is not blank.

    Raises:
        DataError: it is something else.
    """
    if not isinstance(value, str) or not value.strip():
        raise DataError(origin, line, f"{what} is {value!r}, expected a non-empty string")
    return value
