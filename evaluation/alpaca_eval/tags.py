"""Tags of AlpacaEval instructions by a judge.

Paper, Figures 4 and 11 and Table 6: category, complexity from 1 to 10, expected answer length.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import judges.rubrics
from core.records import Tag, user
from core.store import Built
from core.thinking import after_thought
from evaluation.judge import record_replies
from judges.asking import Ask
from judges.backends.recorded import reply_facts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.store import Partial
    from evaluation.generate import Keyed
    from judges.asking import Judge, Reply

LENGTHS = ("1 sentence", "1-3 sentences", "1 paragraph", "2 paragraphs", "3 or more paragraphs")
MAX_TOKENS = 100  # three short lines
_FIELD = re.compile(
    r"(?<![^\W_])(?P<name>category|complexity|length)[*_`\s]*+:[*_`\s]*+", re.IGNORECASE
)
_COMPLEXITY = re.compile(r"([0-9]{1,2})(?:\.0+)?(?:\s*(?:/|out of)\s*10)?", re.IGNORECASE)
_LETTERED = re.compile(r"\(?(?P<letter>[a-e])[).:]?(?:\s+(?P<words>.+))?", re.IGNORECASE)


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
    judge: Judge, instructions: Sequence[Keyed], *, allowed_failures: float, out: Partial
) -> Built:
    """Write one tag per instruction that `out` lacks, decoded greedily; raises as `record_replies`.

    Unparsed, refused and too long requests are rows too, counted by reason.
    """
    prompt = tagging_prompt()
    asks = [
        Ask(item.key, tuple(user(f"{prompt.before}{item.text}{prompt.after}")), MAX_TOKENS)
        for item in instructions
    ]
    left = [ask for ask in asks if ask.key not in out.rows]
    total = len(instructions)
    record_replies(
        judge, left, read_tag, out, title="tags", total=total, allowed_failures=allowed_failures
    )
    unparsed = Counter(row.unparsed for row in out.rows.values() if row.unparsed is not None)
    counts = {f"unparsed_{reason}": n for reason, n in sorted(unparsed.items())}
    return Built(
        counts={"tagged": len(out.rows) - unparsed.total(), **counts},
        facts=reply_facts(judge, asks),
        engine=judge.identity,
    )


def read_tag(reply: Reply) -> Tag:
    """Parse "Category: …, Complexity: …, Length: …", on one line or three.

    The last of each counts. `unparsed` lists the fields that could not be parsed
    ("category+length"), or is the reason for no reply ("refused", "too_long", "failed", "cut_off",
    "empty"); the other fields are kept.
    """
    if reply.finish in ("refused", "too_long", "failed"):
        return Tag(reply.key, None, None, None, reply.finish, reply.text)
    text = after_thought(reply.text).text
    if not text.strip():
        reason = "cut_off" if reply.finish == "length" else "empty"
        return Tag(reply.key, None, None, None, reason, reply.text)
    found = list(_FIELD.finditer(text))
    ends = [*(field.start() for field in found[1:]), len(text)]
    fields = {
        field["name"].lower(): text[field.end() : end].partition("\n")[0].strip("*_` \t\r,.;")
        for field, end in zip(found, ends, strict=False)
    }
    category = _category(fields.get("category", ""))
    complexity = _complexity(fields.get("complexity", ""))
    length = _length(fields.get("length", ""))
    named = {"category": category, "complexity": complexity, "length": length}
    missing = [name for name, value in named.items() if value is None]
    return Tag(reply.key, category, complexity, length, "+".join(missing) or None, reply.text)


def _category(text: str) -> str | None:
    categories = {_plain(name): name for name in tagging_prompt().categories}
    return categories.get(_plain(text))


def _complexity(text: str) -> int | None:
    found = _COMPLEXITY.fullmatch(text)
    value = int(found[1]) if found else 0
    return value if 1 <= value <= 10 else None  # noqa: PLR2004 - the prompt's range


def _length(text: str) -> str | None:
    names = {_plain(name): name for name in LENGTHS}
    if exact := names.get(_plain(text)):
        return exact
    found = _LETTERED.fullmatch(text)
    if not found:
        return None
    named = LENGTHS["abcde".index(found["letter"].lower())]
    agrees = found["words"] is None or names.get(_plain(found["words"])) == named
    return named if agrees else None


def _plain(text: str) -> str:
    """Normalise a name: without case, spaces, quotes and brackets."""
    return re.sub(r"[\s\"'“”<>\[\]]+", "", text.replace("–", "-")).lower()
