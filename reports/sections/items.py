"""How the rows behind a number are named, ordered and worded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from core.reductions import mean_scores
from reports.document import RowGroup, number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from core.records import Judgment
    from core.reductions import MeanScore
    from core.stages import Ref
    from reports.document import Item

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
    key: str,
    title: str,
    columns: tuple[str, ...],
    rows: Sequence[Any],
    item: Callable[[Any], Item],
    *,
    most: int,
    artifact: Ref,
) -> RowGroup:
    """Return the first `most` rows in the order of their keys; `total` counts all.

    Numbers inside keys count as numbers: c2 comes before c10.
    """
    first = sorted(rows, key=lambda row: key_order(row.key))[:most]
    return RowGroup(key, title, columns, tuple(map(item, first)), len(rows), str(artifact))


def key_order(key: str) -> list[tuple[bool, int, str]]:
    """Return what a key is sorted by."""
    return [
        (part.isdecimal(), int(part) if part.isdecimal() else 0, part)
        for part in _DIGITS.split(key)
        if part
    ]


def excerpt(text: str, longest: int = 90) -> str:
    """Return the beginning of a text on one line, `longest` characters at most."""
    line = " ".join(text[: 4 * longest].split())
    whole = len(line) <= longest and len(text) <= 4 * longest
    return line if whole else line[: longest - 1].rstrip() + "…"


def points(value: float | None) -> str:
    """Return a score as text, a dash for none."""
    return NONE if value is None else number(value)


def said(text: str) -> str:
    """Return somebody's words, or that there are none: an empty text is easily taken for a gap."""
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
    """Return a part per judge reply: its words under its score, or why it has none."""
    if judged is None:
        return [(f"{who}'s words", "(not asked)")]
    many = len(judged.replies) > 1
    parts = []
    for reply in judged.replies:
        draw = f", reply {reply.draw + 1}" if many else ""
        score = (
            f"score {number(reply.score)}"
            if reply.score is not None
            else f"no score: {reply.unparsed}"
        )
        parts.append((f"{who}'s words{draw} ({score})", said(reply.reply)))
    return parts
