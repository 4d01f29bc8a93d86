"""Cards that several pages show: an answer, a judge's reply."""

from __future__ import annotations

from typing import TYPE_CHECKING

from web.explorer.pages import Badge, Card, Link, Words, named, points, row_link

if TYPE_CHECKING:
    from core.records import Generation, Judgment
    from core.stages import Ref

CUT = Badge("cut by the token limit", "bad")


def answer_card(model: str, row: Generation, ref: Ref) -> Card:
    """Return a model's answer; what kept it from ending is said beside its name."""
    badges = [Badge(f"{len(row.text):,} characters")]
    if row.finish != "stop":
        badges.append(CUT if row.finish == "length" else Badge(named(row.finish), "bad"))
    more = (Link("The row as it is", row_link(ref, row.key)),)
    return Card(model, tuple(badges), (Words("", row.text),), more)


def judge_words(who: str, row: Judgment) -> Words:
    """Return one judge reply under its score, or under why it has none."""
    none = f"no score: {named(str(row.unparsed))}"
    said = f"score {points(row.score)}" if row.score is not None else none
    return Words(f"{who}, reply {row.draw + 1}: {said}", row.reply)
