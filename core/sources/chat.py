"""Readers of the chat formats that training data commonly comes in: one row, one conversation.

Every user's turn becomes a thread with the turns before it: a conversation with three answers is
three threads. What no model can be trained on as it is (turns out of order, calls of tools,
pictures, empty turns) is skipped and counted; a row that has not its shape is an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from core.errors import DataError
from core.records import transcript
from core.sources.thread import RankedReply, Thread, checked_text, text_key

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from core.records import Message

Row = dict[str, Any]

_ROLES = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant", "model": "assistant",
    "bot": "assistant", "bard": "assistant", "bing": "assistant",
}  # fmt: skip
_TOOLS = ("tool", "function", "function_call", "function_response", "observation", "ipython")
_TURNS = ("user", "assistant")
_RESPONSES = ("response", "completion")


class Shape(NamedTuple):
    """A shape of rows: what errors call it, the fields that tell it, and its reader."""

    name: str
    fits: Callable[[Row], bool]
    read: Callable[[Row, Place], Iterator[Thread]]


class Place(NamedTuple):
    """Where a row stands."""

    origin: Path | str
    line: int

    def error(self, what: str) -> DataError:
        """Return the error that names the row."""
        return DataError(self.origin, self.line, what)

    def text(self, value: object, what: str) -> str:
        """Return a text that must be there; raises `DataError` if it is blank or no text."""
        return checked_text(value, *self, what)


class _Skipped(Exception):
    """A row that is left out; its text is the reason under which it is counted."""


def found_in(row: Row) -> list[str]:
    """Return the names of a row's fields, for errors; data sets fill in what is not there."""
    return sorted(name for name, value in row.items() if value is not None)


def shape_of(row: Row) -> Shape | None:
    """Return the first shape that a row has, None if it has none of them."""
    return next((shape for shape in SHAPES if shape.fits(row)), None)


def threads(
    rows: Iterable[tuple[int, Row]], shape: Shape, origin: Path | str, skipped: Counter[str]
) -> Iterator[Thread]:
    """Read rows of one shape; `skipped` counts those that are left out, by reason.

    Raises:
        DataError: a row has another shape, or two different texts have the same key.
    """
    seen: dict[str, str] = {}
    for line, row in rows:
        place = Place(origin, line)
        if not shape.fits(row):
            raise place.error(f"expected {shape.name}, as before; found {found_in(row)}")
        try:
            found = list(shape.read(row, place))
        except _Skipped as reason:
            skipped[f"skipped_{reason}"] += 1
            continue
        for thread in found:
            if seen.setdefault(thread.key, thread.text) != thread.text:
                raise place.error(f"the key {thread.key!r} is used twice")
            yield thread


def _conversation(row: Row, place: Place) -> Iterator[Thread]:
    name = next(name for name in ("messages", "conversations", "prompt") if _has(name)(row))
    messages = _with_system(row, _messages(row[name], name, place), place)
    start = 1 if messages and messages[0]["role"] == "system" else 0
    if len(messages) == start:
        raise _Skipped("rows_without_a_turn")
    if any(m["role"] != _TURNS[at % 2] for at, m in enumerate(messages[start:])):
        raise _Skipped("rows_with_turns_out_of_order")
    for number, at in enumerate(range(start, len(messages), 2)):
        replies = tuple(RankedReply(m["content"], 0) for m in messages[at + 1 : at + 2])
        yield _thread(row, messages[: at + 1], replies, f"/t{number}" if number else "")


def _instruction(row: Row, place: Place) -> Iterator[Thread]:
    text = place.text(row["instruction"], "instruction")
    if row.get("input"):
        text = f"{text}\n\n{place.text(row['input'], 'input')}"
    replies = (_reply(row["output"], "output", place, 0),) if _has("output")(row) else ()
    yield _thread(row, _asked(text, row, place), replies)


def _response(row: Row, place: Place) -> Iterator[Thread]:
    name = next(name for name in _RESPONSES if _has(name)(row))
    yield _thread(row, _asked(row["prompt"], row, place), (_reply(row[name], name, place, 0),))


def _preference(row: Row, place: Place) -> Iterator[Thread]:
    """Read "chosen" and "rejected": texts, or conversations that end with the answer."""
    contexts = [_context(row[name], name, row, place) for name in ("chosen", "rejected")]
    if contexts[0] != contexts[1]:
        raise place.error("chosen and rejected are answers to different turns")
    context = contexts[0] or _asked(row.get("prompt"), row, place)
    replies = tuple(_reply(row[n], n, place, at) for at, n in enumerate(("chosen", "rejected")))
    if replies[0].text == replies[1].text:
        raise _Skipped("rows_whose_chosen_equals_rejected")
    yield _thread(row, context, replies)


def _prompt(row: Row, place: Place) -> Iterator[Thread]:
    yield _thread(row, _asked(row["prompt"], row, place), ())


def _of_a_run(row: Row, place: Place) -> Iterator[Thread]:
    """Read a row of a run's prompts, with the turns before it; rejected ones are left out."""
    if row.get("rejected") is not None:
        raise _Skipped("rejected_prompts")
    before = _messages(row.get("before", []), "before", place)
    asked: list[Message] = [{"role": "user", "content": place.text(row["text"], "text")}]
    yield _thread(row, _up_to_user([*before, *asked]), ())


def _thread(
    row: Row, messages: list[Message], replies: tuple[RankedReply, ...], turn: str = ""
) -> Thread:
    """Return the thread of the turns up to a user's; `turn` tells the later ones of a row."""
    before, prompt = tuple(messages[:-1]), messages[-1]["content"]
    own = next((row[name] for name in ("key", "id") if row.get(name) is not None), None)
    key = text_key(transcript(before, prompt)) if own is None else f"{own}{turn}"
    split = row.get("split")
    return Thread(key, prompt, replies, None if split is None else str(split), before)


def _asked(prompt: object, row: Row, place: Place) -> list[Message]:
    """Return what is asked: a text, or messages that end with the user's turn."""
    if isinstance(prompt, list):
        messages = _with_system(row, _messages(prompt, "prompt", place), place)
        return _up_to_user(messages)
    asked: list[Message] = [{"role": "user", "content": place.text(prompt, "prompt")}]
    return _with_system(row, asked, place)


def _context(answered: object, name: str, row: Row, place: Place) -> list[Message]:
    """Return the turns before an answer that is given with them, [] if there are none."""
    if not isinstance(answered, list) or len(answered) < 2:  # noqa: PLR2004 - a turn, an answer
        return []
    return _up_to_user(_with_system(row, _messages(answered, name, place)[:-1], place))


def _up_to_user(messages: list[Message]) -> list[Message]:
    turns = messages[1:] if messages and messages[0]["role"] == "system" else messages
    wrong = any(m["role"] != _TURNS[at % 2] for at, m in enumerate(turns))
    if wrong or len(turns) % 2 == 0:
        raise _Skipped("rows_with_turns_out_of_order")
    return messages


def _reply(value: object, name: str, place: Place, rank: int) -> RankedReply:
    """Return an answer: a text, or the last of a list of messages."""
    if isinstance(value, list):
        messages = _messages(value, name, place)
        if not messages or messages[-1]["role"] != "assistant":
            raise _Skipped("rows_with_turns_out_of_order")
        return RankedReply(messages[-1]["content"], rank)
    if isinstance(value, str) and not value.strip():
        raise _Skipped("rows_with_an_empty_turn")
    return RankedReply(place.text(value, name), rank)


def _with_system(row: Row, messages: list[Message], place: Place) -> list[Message]:
    """Return a conversation behind the row's own "system" text, if it has one."""
    if not row.get("system"):
        return messages
    if messages and messages[0]["role"] == "system":
        raise place.error('a "system" text beside a message of the role system')
    return [{"role": "system", "content": place.text(row["system"], "system")}, *messages]


def _messages(value: object, name: str, place: Place) -> list[Message]:
    if not isinstance(value, list) or not all(isinstance(m, dict) for m in value):
        raise place.error(f"field {name!r} is not a list of messages (role and content)")
    return [_message(message, f"{name}[{at}]", place) for at, message in enumerate(value)]


def _message(message: Row, where: str, place: Place) -> Message:
    named = message.get("role", message.get("from"))
    if not isinstance(named, str) or named not in (*_ROLES, *_TOOLS):
        raise place.error(f"{where}: role {named!r}, expected one of {', '.join(_ROLES)}")
    if named in _TOOLS or message.get("tool_calls"):
        raise _Skipped("rows_with_tools")
    content = message.get("content", message.get("value"))
    if isinstance(content, list):
        content = _joined(content, where, place)
    if content is None or (isinstance(content, str) and not content.strip()):
        raise _Skipped("rows_with_an_empty_turn")
    return {"role": _ROLES[named], "content": place.text(content, f"{where}: text")}


def _joined(parts: list[object], where: str, place: Place) -> str:
    """Return the text of a message that is given in parts."""
    texts = []
    for part in parts:
        if not isinstance(part, dict):
            raise place.error(f"{where}: a part is no object")
        if part.get("type") != "text":
            raise _Skipped("rows_with_more_than_text")
        texts.append(place.text(part.get("text"), f"{where}: text"))
    return "".join(texts)


def _has(*names: str) -> Callable[[Row], bool]:
    return lambda row: all(row.get(name) is not None for name in names)


SHAPES = (
    Shape(
        "prompt/chosen/rejected",
        _has("chosen", "rejected"),
        _preference,
    ),
    Shape("messages (role, content)", _has("messages"), _conversation),
    Shape("ShareGPT's conversations (from, value)", _has("conversations"), _conversation),
    Shape("instruction/input/output", _has("instruction"), _instruction),
    Shape(
        "prompt/response or prompt/completion",
        lambda row: _has("prompt")(row) and any(_has(name)(row) for name in _RESPONSES),
        _response,
    ),
    Shape("a prompt as messages", lambda row: isinstance(row.get("prompt"), list), _conversation),
    Shape("a run's prompts", _has("text", "call", "key"), _of_a_run),
    Shape("a prompt as text", lambda row: isinstance(row.get("prompt"), str), _prompt),
)
"""The shapes in the order in which they are looked for: a row of preferences may have messages."""
