"""How the rows behind a number are named, ordered and worded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from core.reductions import MeanScore, mean_scores
from reports.document import Item, RowGroup, number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from core.reader import RunReader
    from core.records import Judgment
    from core.stages import Ref

NONE = "–"
_DIGITS = re.compile(r"(\d+)")
Part = tuple[str, str]


class Judged(NamedTuple):
    """An answer's judge replies in the order of their draws, and their mean score."""

    mean: MeanScore
    replies: list[Judgment]

    @property
    def shown(self) -> str:
        """The mean, and how many of the replies it rests on."""
        read = f"{self.mean.parsed} of {self.mean.draws} read"
        return f"{points(self.mean.mean)} ({read})"


def group(
    results: RunReader,
    ref: Ref,
    title: str,
    columns: tuple[str, ...],
    item: Callable[[Any], Item],
    *,
    most: int,
    key: str = "",
    rows: Sequence[Any] | None = None,
) -> RowGroup | None:
    """Return the first `most` rows of an artifact in the order of their keys; `total` counts all.

    None if it has not been made. Numbers inside keys count as numbers: c2 comes before c10.
    `key`: of the group; default: the address of an evaluation. `rows`: what to show instead of the
    artifact's own rows.
    """
    if not results.exists(ref):
        return None
    found = results.rows(ref) if rows is None else rows
    first = sorted(found, key=lambda row: key_order(row.key))[:most]
    return RowGroup(
        key or ref.address, title, columns, tuple(map(item, first)), len(found), str(ref)
    )


def key_order(key: str) -> list[tuple[bool, int, str]]:
    """Return what a key is sorted by."""
    parts = (part for part in _DIGITS.split(key) if part)
    return [(p.isdecimal(), int(p) if p.isdecimal() else 0, p) for p in parts]


def excerpt(text: str, longest: int = 90) -> str:
    """Return the beginning of a text on one line, `longest` characters at most."""
    line = " ".join(text[: 4 * longest].split())
    whole = len(line) <= longest and len(text) <= 4 * longest
    return line if whole else line[: longest - 1].rstrip() + "…"


def points(value: float | None) -> str:
    """Return a score as text, a dash for none."""
    return NONE if value is None else number(value)


def text_or_note(text: str) -> str:
    """Return a text, or a note that it is empty or white space only."""
    return text if text.strip() else "(nothing)" if not text else f"(white space only) {text!r}"


def judged_by_subject(judgments: Iterable[Judgment]) -> dict[str, Judged]:
    """Return each answer's replies and mean."""
    found: dict[str, list[Judgment]] = {}
    for judgment in judgments:
        found.setdefault(judgment.subject_key, []).append(judgment)
    means = mean_scores(reply for replies in found.values() for reply in replies)
    return {
        key: Judged(means[key], sorted(replies, key=lambda reply: reply.draw))
        for key, replies in found.items()
    }


def words_of(judged: Judged | None, who: str = "The judge") -> list[Part]:
    """Return a part per judge reply, headed by its score or the reason why it has none."""
    if judged is None:
        return [(f"{who}'s reply", "(not asked)")]
    many = len(judged.replies) > 1
    parts = []
    for reply in judged.replies:
        draw = f", reply {reply.draw + 1}" if many else ""
        read = reply.score is not None
        score = f"score {points(reply.score)}" if read else f"no score: {reply.unparsed}"
        said = reply.reply or not read
        shown = text_or_note(reply.reply) if said else "(a score without words)"
        parts.append((f"{who}'s reply{draw} ({score})", shown))
    return parts
