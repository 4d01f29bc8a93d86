"""Battles of a model against the baseline, from recorded judgments in both presentation orders.

The baseline's answer is shown first in the first game and second in the second one. A verdict of
"much better" (A>>B) counts three times as much as "better".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from core.errors import DataError
from evaluation.files.json_rows import read_rows

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MUCH = 3.0
"""Weight of a verdict of "much better"."""
UNREAD = "unread"
_ONLY_CATEGORY = "arena-hard-v0.1"
_GAMES = 2


class Outcome(NamedTuple):
    """A verdict from the side of the answer shown first: 1 if it is better, 0.5 for a tie."""

    first: float
    weight: float

    @property
    def second(self) -> float:
        """The same from the other side."""
        return 1.0 - self.first


_BETTER, _MUCH_BETTER = Outcome(1.0, 1.0), Outcome(1.0, MUCH)
_WORSE, _MUCH_WORSE = Outcome(0.0, 1.0), Outcome(0.0, MUCH)
_TIE = Outcome(0.5, 1.0)
LABELS = {
    "A>>B": _MUCH_BETTER, "B<<A": _MUCH_BETTER, "A>B": _BETTER, "B<A": _BETTER,
    "A=B": _TIE, "B=A": _TIE,
    "B>A": _WORSE, "A<B": _WORSE, "B>>A": _MUCH_WORSE, "A<<B": _MUCH_WORSE,
}  # fmt: skip


class Battle(NamedTuple):
    """One question answered by a model and by the baseline, judged in both orders.

    `won`: sum over the games of weight times outcome, from the model's side; `weight`: of all
    games. None and 0 if a verdict could not be read: then neither order counts, because one alone
    would carry the judge's bias for a position.
    """

    question: str
    model: str
    category: str
    won: float | None
    weight: float


def battle_of(question: str, model: str, category: str, labels: Iterable[str | None]) -> Battle:
    """Return the battle of two verdicts: baseline shown first, then model shown first."""
    found = [LABELS.get(label or "") for label in labels]
    if len(found) != _GAMES or None in found:
        return Battle(question, model, category, None, 0.0)
    first, second = (outcome for outcome in found if outcome is not None)
    won = first.weight * first.second + second.weight * second.first
    return Battle(question, model, category, won, first.weight + second.weight)


def read_judgments(path: Path) -> list[Battle]:
    """Read a file of upstream's gen_judgment.py: "question_id" (v0.1) or "uid" (v2.0), "games".

    Raises:
        DataError: a row has not this form, or a question is judged twice for one model.
    """
    found: dict[tuple[str, str], Battle] = {}
    for line, row in read_rows(path, "arena judgments"):
        battle = _read(path, line, row)
        key = battle.model, battle.question
        if key in found:
            what = f"question {battle.question} of {battle.model} is here twice"
            raise DataError(path, line, f"{what}; keep one of the rows")
        found[key] = battle
    return [*found.values()]


def _read(path: Path, line: int, row: dict[str, Any]) -> Battle:
    question, model = row.get("uid", row.get("question_id")), row.get("model")
    games, category = row.get("games"), row.get("category", _ONLY_CATEGORY)
    texts = all(isinstance(value, str) for value in (question, model, category))
    if not texts or not isinstance(games, list):
        what = 'expected "uid" or "question_id", "model" and "games", a list of two with "score"'
        raise DataError(path, line, what)
    labels = [game.get("score") if isinstance(game, dict) else None for game in games]
    for label in labels:
        if label is not None and label not in LABELS:
            shown = str(label)[:20]
            raise DataError(path, line, f"score {shown!r}; expected one of {', '.join(LABELS)}")
    return battle_of(str(question), str(model), str(category), labels)
