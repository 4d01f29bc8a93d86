"""What kind of instruction is it? A judge's tags, and the win rate broken down by them.

Paper, Figures 4 and 11 and Table 6: category, complexity from 1 to 10, expected answer length.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import judges.rubrics
from core.progress import track
from core.records import Tag, user
from core.store import Built
from evaluation.alpaca_eval.win_rate import win_rate
from judges.asking import Ask, settle_failures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from core.records import Annotation, Score
    from core.store import Partial
    from judges.asking import Judge, Reply

LENGTHS = ("1 sentence", "1-3 sentences", "1 paragraph", "2 paragraphs", "3 or more paragraphs")
UNTAGGED = "untagged"
MAX_TOKENS = 100  # three short lines
_BINS = ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10))
_FIELD = re.compile(
    r"(?P<name>category|complexity|length)[*_`\s]*:[*_`\s]*(?P<value>.*?)[*_`\s,.;]*"
    r"(?=(?:^|[\s,;*_`])(?:category|complexity|length)[*_`\s]*:|\n|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_COMPLEXITY = re.compile(r"([0-9]{1,2})(?:\.0+)?(?:\s*(?:/|out of)\s*10)?", re.IGNORECASE)
_LETTERED = re.compile(r"\(?(?P<letter>[a-e])[).:]?(?:\s+(?P<words>.+))?", re.IGNORECASE)


class Instruction(Protocol):
    """An instruction with a key of its own."""

    @property
    def key(self) -> str:
        """The instruction's identity."""
        ...

    @property
    def text(self) -> str:
        """The instruction."""
        ...


class Tagging(NamedTuple):
    """The prompt around its placeholder, and the categories it lists."""

    before: str
    after: str
    categories: tuple[str, ...]


@lru_cache(maxsize=1)
def tagging_prompt() -> Tagging:
    """Return the tagging prompt; the comment that names the source is not part of it."""
    path = Path(judges.rubrics.__file__).parent / "tagging.md"
    text = re.sub(r"\A<!--.*?-->\n", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    before, after = text.strip().split("<INSTRUCTION_HERE>")
    return Tagging(before, after, tuple(re.findall(r"^- (.+)$", after, re.MULTILINE)))


def tag(
    judge: Judge, instructions: Sequence[Instruction], *, allowed_failures: float, out: Partial
) -> Built:
    """Write one tag per instruction, leaving out those `out` has already; decoding is greedy.

    A reply that cannot be read, is refused or does not fit is an outcome, counted by its reason.

    Raises:
        JudgeFailed: more than `allowed_failures` of the requests failed.
    """
    prompt = tagging_prompt()
    asks = [
        Ask(item.key, tuple(user(f"{prompt.before}{item.text}{prompt.after}")), MAX_TOKENS)
        for item in instructions
        if item.key not in out.rows
    ]
    failures: list[Reply] = []
    with track("tags", len(instructions), resumed=len(instructions) - len(asks)) as advance:
        for reply in judge.ask(asks):
            if reply.finish == "failed":
                failures.append(reply)
            else:
                out.add(read_tag(reply))
            advance(tokens=reply.tokens_out)
    settle_failures(failures, len(instructions), allowed_share=allowed_failures)
    for failed in failures:
        out.add(Tag(failed.key, None, None, None, "failed", ""))
    unparsed = Counter(row.unparsed for row in out.rows.values() if row.unparsed is not None)
    counts = {f"unparsed_{reason}": n for reason, n in sorted(unparsed.items())}
    return Built(
        counts={"tagged": len(out.rows) - unparsed.total(), **counts},
        facts={"judge": judge.name},
        engine=judge.identity,
    )


def read_tag(reply: Reply) -> Tag:
    """Read "Category: …, Complexity: …, Length: …", on one line or three.

    The last of each counts. `unparsed` lists what could not be read ("category+length"), or is why
    there are no words ("refused", "too_long", "empty"); the fields that could be read are kept.
    """
    if reply.finish in ("refused", "too_long"):
        return Tag(reply.key, None, None, None, reply.finish, reply.text)
    if not reply.text.strip():
        return Tag(reply.key, None, None, None, "empty", reply.text)
    said = {found["name"].lower(): found["value"].strip() for found in _FIELD.finditer(reply.text)}
    category = _category(said.get("category", ""))
    complexity = _complexity(said.get("complexity", ""))
    length = _length(said.get("length", ""))
    named = {"category": category, "complexity": complexity, "length": length}
    unread = [name for name, value in named.items() if value is None]
    return Tag(reply.key, category, complexity, length, "+".join(unread) or None, reply.text)


def breakdown(annotations: Sequence[Annotation], tags: Iterable[Tag]) -> list[Score]:
    """Return the win rate by category, complexity and expected length, each with its n.

    Keys are "win_rate/category/…", "win_rate/complexity/1-2" and "win_rate/length/…", in the order
    of the prompt; groups without annotations are left out. Annotations without a readable tag form
    the group "untagged", so that the groups of each kind add up to all annotations.
    """
    by_key = {tag.key: tag for tag in tags}
    kinds: list[tuple[str, Sequence[str], Callable[[Tag], str | None]]] = [
        ("category", tagging_prompt().categories, lambda tag: tag.category),
        ("complexity", [f"{low}-{high}" for low, high in _BINS], _bin),
        ("length", LENGTHS, lambda tag: tag.length),
    ]
    scores = []
    for kind, groups, group_of in kinds:
        members: dict[str, list[Annotation]] = {group: [] for group in (*groups, UNTAGGED)}
        for annotation in annotations:
            found = by_key.get(annotation.key)
            members[(found and group_of(found)) or UNTAGGED].append(annotation)
        scores += [
            win_rate(rows, key=f"win_rate/{kind}/{group}")
            for group, rows in members.items()
            if rows
        ]
    return scores


def _bin(tag: Tag) -> str | None:
    if tag.complexity is None:
        return None
    return next(f"{low}-{high}" for low, high in _BINS if low <= tag.complexity <= high)


def _category(said: str) -> str | None:
    categories = {_plain(name): name for name in tagging_prompt().categories}
    return categories.get(_plain(said))


def _complexity(said: str) -> int | None:
    found = _COMPLEXITY.fullmatch(said)
    value = int(found[1]) if found else 0
    return value if 1 <= value <= 10 else None  # noqa: PLR2004 - the prompt's range


def _length(said: str) -> str | None:
    names = {_plain(name): name for name in LENGTHS}
    if exact := names.get(_plain(said)):
        return exact
    found = _LETTERED.fullmatch(said)
    if not found:
        return None
    named = LENGTHS["abcde".index(found["letter"].lower())]
    agrees = found["words"] is None or names.get(_plain(found["words"])) == named
    return named if agrees else None


def _plain(text: str) -> str:
    """Return a name without what does not tell two names apart: case, spaces, quotes, brackets."""
    return re.sub(r"[\s\"'“”<>\[\]]+", "", text.replace("–", "-")).lower()
