"""The votes of a comparison: what the statistics and the report read.

Exported as JSON lines, one vote each, in the order they were cast:

    {"item": "p17", "prompt": "…", "annotator": "annotator-2", "choice": "A" | "B" | "tie",
     "left": "A" | "B", "comment": "", "seconds": 31.4, "voted_at": "2026-11-24T15:02:11Z"}

A and B are the study's two models (`StudyInfo.models`); undone votes are not among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from core import jsonl
from core.errors import ConfigError
from evaluation.human.ballots import read_ballots
from evaluation.human.study import StudyFolder, StudyInfo, read_study

if TYPE_CHECKING:
    from pathlib import Path

    from evaluation.human.ballots import Ballot
    from evaluation.human.study import Item

Choice = Literal["A", "B", "tie"]


@dataclass(frozen=True, slots=True)
class Vote:
    """One annotator's choice between A's and B's answer to one prompt.

    `item` is the prompt's key in the answers artifacts, `annotator` a name that is no secret,
    `left` whose answer stood on the left, `seconds` the time from showing the page to the vote,
    `voted_at` UTC. `choice` never says left or right: it is mapped already.
    """

    item: str
    prompt: str
    annotator: str
    choice: Choice
    left: Literal["A", "B"]
    comment: str
    seconds: float
    voted_at: str

    @property
    def key(self) -> str:
        """The vote's identity: an annotator has one vote per item."""
        return f"{self.item}/{self.annotator}"


def read_votes(folder: Path) -> list[Vote]:
    """Return the votes of the study in a folder that count, in the order they were cast.

    Raises:
        MissingArtifact: there is no study.
        ConfigError: it is a study of rankings.
        DataError: one of its files was damaged.
    """
    there = StudyFolder(folder)
    return votes_of(read_study(there), read_ballots(there.ballots))


def votes_of(study: StudyInfo, ballots: list[Ballot]) -> list[Vote]:
    """Return ballots of a comparison as votes.

    Raises:
        ConfigError: it is a study of rankings.
    """
    if study.kind != "comparison":
        message = "a study of rankings has no votes; read its rankings (evaluation/human/rankings)"
        raise ConfigError(message)
    items = {item.item: item for item in study.items}
    return [_vote(ballot, items[ballot.item]) for ballot in ballots]


def _vote(ballot: Ballot, item: Item) -> Vote:
    return Vote(
        item=ballot.item,
        prompt=item.prompt,
        annotator=ballot.annotator,
        choice=cast("Choice", ballot.answer),
        left="A" if ballot.shown.startswith("0") else "B",
        comment=ballot.comment,
        seconds=ballot.seconds,
        voted_at=ballot.cast_at,
    )


def export_votes(folder: StudyFolder) -> Path:
    """Write the votes to votes.jsonl, replacing an earlier export in one step; return its path."""
    temporary = folder.votes.with_suffix(".tmp")
    jsonl.write_lines(temporary, map(jsonl.encode, read_votes(folder.path)))
    return temporary.replace(folder.votes)
