"""How often two judges of pairs agree: the agreement of Zheng et al. 2023, Table 5.

Two votes agree if they name the same model or are both ties; a judge that contradicts itself when
the order is swapped ("tie (inconsistent)") has voted a tie. Votes are compared one by one, never by
majority.

Source: arXiv 2306.05685, section 4.2 and Table 5; counting as in fschat 0.2.36,
fastchat/llm_judge/compute_agreement.py.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from core.errors import DataError
from evaluation.files.json_rows import read_rows

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Winner = Literal["model_a", "model_b", "tie"]
_WINNERS: dict[object, Winner] = {
    "model_a": "model_a",
    "model_b": "model_b",
    "tie": "tie",
    "tie (inconsistent)": "tie",
}


class Item(NamedTuple):
    """What was voted on: two models' answers to one turn, the models in alphabetical order."""

    question_id: int
    turn: int
    models: tuple[str, str]


class Vote(NamedTuple):
    """One judge's vote on one item; `winner` is a model's name, None for a tie."""

    judge: str
    item: Item
    winner: str | None


class Agreement(NamedTuple):
    """How many pairs of votes agree, of how many."""

    agree: int
    total: int

    @property
    def rate(self) -> float | None:
        """The share that agree, in [0, 1]; None when there is nothing to compare."""
        return self.agree / self.total if self.total else None


def read_votes(path: Path) -> list[Vote]:
    """Read votes: {judge, model_a, model_b, question_id, turn, winner} per line, or a JSON list.

    `winner` is "model_a", "model_b", "tie" or "tie (inconsistent)". A judge given as [model,
    prompt] is named "model/prompt".

    Raises:
        DataError: the file is missing or a line is malformed.
    """
    return [_vote(row, path, line) for line, row in read_rows(path)]


def is_expert(vote: Vote) -> bool:
    """Whether an expert voted: Table 5 leaves out the votes of the paper's authors."""
    return vote.judge.startswith("expert")


def between(
    judge: Iterable[Vote], others: Iterable[Vote], *, turn: int, ties: bool = True
) -> Agreement:
    """Compare one judge's vote on each item with every other vote on it.

    Args:
        judge: one vote per item (GPT-4).
        others: any number of votes per item (people).
        turn: the turn that counts.
        ties: with ties; False leaves out each comparison in which either vote is a tie.

    Raises:
        DataError: `judge` voted twice on one item.
    """
    verdicts: dict[Item, Vote] = {}
    for vote in judge:
        if vote.item in verdicts:
            question, at, (first, second) = vote.item
            what = f"two verdicts on question {question}, turn {at}, {first} against {second}"
            raise DataError(f"votes of {vote.judge}", None, what)
        verdicts[vote.item] = vote
    compared = [
        (verdicts[vote.item], vote)
        for vote in others
        if vote.item in verdicts and vote.item.turn == turn
    ]
    return _count(compared, ties=ties)


def among(votes: Iterable[Vote], *, turn: int, ties: bool = True) -> Agreement:
    """Compare every two votes on the same item with each other; see `between`.

    Two votes of one person on one item count like those of two people (it happens once in the
    published votes).
    """
    by_item: dict[Item, list[Vote]] = defaultdict(list)
    for vote in votes:
        if vote.item.turn == turn:
            by_item[vote.item].append(vote)
    compared = [pair for found in by_item.values() for pair in combinations(found, 2)]
    return _count(compared, ties=ties)


def _count(compared: Iterable[tuple[Vote, Vote]], *, ties: bool) -> Agreement:
    agree = total = 0
    for one, other in compared:
        if not ties and (one.winner is None or other.winner is None):
            continue
        total += 1
        agree += one.winner == other.winner
    return Agreement(agree, total)


def _vote(row: dict[str, Any], path: Path, line: int) -> Vote:
    judge = row.get("judge")
    if isinstance(judge, list):
        judge = "/".join(map(str, judge))
    if not isinstance(judge, str):
        raise DataError(path, line, f"judge: expected a name, found {judge!r}")
    types = {"model_a": str, "model_b": str, "question_id": int, "turn": int}
    for field, kind in types.items():
        if not isinstance(row.get(field), kind):
            what = f"{field}: expected {kind.__name__}, found {row.get(field)!r}"
            raise DataError(path, line, what)
    said = row.get("winner")
    if not isinstance(said, str) or said not in _WINNERS:
        raise DataError(path, line, f"winner {said!r} is none of {', '.join(map(str, _WINNERS))}")
    if row["model_a"] == row["model_b"]:
        raise DataError(path, line, f"{row['model_a']} is compared with itself")
    winner = _WINNERS[said]
    first, second = sorted((row["model_a"], row["model_b"]))
    item = Item(row["question_id"], row["turn"], (first, second))
    return Vote(judge, item, None if winner == "tie" else row[winner])
