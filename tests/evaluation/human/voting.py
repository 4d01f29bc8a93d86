"""Votes written down as words: "AAt" is A, A and tie by annotators 1, 2 and 3; "-" is no vote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

from core.records import Verdict
from core.stages import Stage, evaluation_ref
from evaluation.human.statistics import ItemVotes
from evaluation.human.vote_store import Submission, VoteStore
from evaluation.human.votes import Vote
from tests.evaluation.human.studies import comparison, write_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from evaluation.human.study import StudyFolder
    from evaluation.human.votes import VoteChoice

_CHOICES = {"A": "A", "B": "B", "t": "tie"}
_WHEN = "2026-11-24T15:00:00Z"


def votes_on(item: str, said: str, *, left: Literal["A", "B"] = "A") -> ItemVotes:
    """The votes on one item."""
    votes = tuple(
        Vote(item, f"Question {item}?", f"annotator-{at}", choice_of(one), left, "", 1.0, _WHEN)
        for at, one in enumerate(said, start=1)
        if one != "-"
    )
    return ItemVotes(item, votes, len(said))


def all_votes(said: Sequence[str]) -> list[ItemVotes]:
    """The votes on p0, p1, ..."""
    return [votes_on(f"p{at}", one) for at, one in enumerate(said)]


def choice_of(letter: str) -> VoteChoice:
    return cast("VoteChoice", _CHOICES[letter])


def cast_votes(folder: StudyFolder, said: Mapping[str, str]) -> None:
    """Saved submissions: item → a letter per annotator; A stands on the left."""
    with VoteStore(folder.database) as store:
        for item, letters in said.items():
            for at, letter in enumerate(letters, start=1):
                if letter != "-":
                    comment = f"{item} by {at}"
                    who = f"annotator-{at}"
                    submission = Submission(who, item, _CHOICES[letter], "0,1", comment, 2.5, _WHEN)
                    store.save(submission).result(timeout=10)


def judge_verdicts(run: Path, a: str, b: str, said: Mapping[str, str]) -> None:
    """Make head-to-head verdicts: prompt → what both orders say ("A"), or each ("AB": a flip)."""
    rows = []
    for key, letters in said.items():
        for order, letter in zip(("ab", "ba"), letters * (3 - len(letters)), strict=False):
            name = f"{key}/{order}"
            if letter == "?":
                rows.append(Verdict(name, key, a, b, None, "no_winner", ("what?",)))
            else:
                rows.append(Verdict(name, key, a, b, choice_of(letter), None, (f"I say {letter}",)))
    write_rows(run, evaluation_ref(f"head_to_head/{a}-{b}", Stage.VERDICTS), rows)


def judged_study(run: Path, said: Mapping[str, str], judge: Mapping[str, str]) -> StudyFolder:
    """A study of M3 against sft with these votes, and the judge's verdicts (none: not judged)."""
    folder = comparison(run, n=len(said), annotators=len(next(iter(said.values()))))
    cast_votes(folder, said)
    if judge:
        judge_verdicts(run, "M3", "sft", judge)
    return folder
