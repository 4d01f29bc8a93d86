"""The votes of a comparison, as statistics and reports read them.

Exported as JSON lines, one per vote, in the order of voting:

    {"item": "p17", "prompt": "…", "annotator": "annotator-2", "choice": "A" | "B" | "tie",
     "left": "A" | "B", "comment": "", "seconds": 31.4, "voted_at": "2026-11-24T15:02:11Z"}

A and B are the study's two models (`StudyInfo.models`); undone votes are excluded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from core import jsonl
from core.errors import ConfigError
from evaluation.human.study import StudyFolder, read_study
from evaluation.human.vote_store import read_submissions

if TYPE_CHECKING:
    from pathlib import Path

VoteChoice = Literal["A", "B", "tie"]


@dataclass(frozen=True, slots=True)
class Vote:
    """One annotator's choice between A's and B's answer to one prompt.

    `item` is the prompt's key in the answers artifacts, `annotator` a public name, `left` the model
    shown on the left, `seconds` the time from showing the page to the vote, `voted_at` UTC.
    `choice` is a model, never a side.
    """

    item: str
    prompt: str
    annotator: str
    choice: VoteChoice
    left: Literal["A", "B"]
    comment: str
    seconds: float
    voted_at: str

    @property
    def key(self) -> str:
        """The vote's identity: an annotator has one vote per item."""
        return f"{self.item}/{self.annotator}"


def read_votes(folder: Path) -> list[Vote]:
    """Return the valid votes of the study in a folder, in the order of voting.

    Raises:
        ConfigError: it is a study of rankings.
        MissingArtifact, DataError: see `read_study`.
    """
    study = read_study(StudyFolder(folder))
    if study.kind != "comparison":
        message = "a study of rankings has no votes; read its rankings (evaluation/human/rankings)"
        raise ConfigError(message)
    prompts = {item.item: item.prompt for item in study.items}
    return [
        Vote(
            item=given.item,
            prompt=prompts[given.item],
            annotator=given.annotator,
            choice=cast("VoteChoice", given.answer),
            left="A" if given.shown.startswith("0") else "B",
            comment=given.comment,
            seconds=given.seconds,
            voted_at=given.submitted_at,
        )
        for given in read_submissions(StudyFolder(folder).database)
    ]


def export_votes(folder: StudyFolder) -> Path:
    """Write the votes to votes.jsonl, replacing an earlier export in one step; return its path."""
    jsonl.write_lines(folder.votes, map(jsonl.encode, read_votes(folder.path)))
    return folder.votes
