"""The state of a served study, without its pages: annotators, their progress, their answers.

An annotator is identified by the token in the link alone; there are no cookies, so no other site
can make a browser vote (CSRF). Each form carries an HMAC of the item and the time at which it was
shown, keyed by the token: a vote counts only for an item that this annotator was shown.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from asyncio import to_thread, wrap_future
from http import HTTPStatus
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from fastapi import HTTPException

from core.errors import SrlmError
from core.progress import say
from evaluation.human.study import assignment, now_utc
from evaluation.human.vote_store import Submission

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from evaluation.human.study import ShownItem, StudyInfo
    from evaluation.human.vote_store import Saved, VoteStore

_LONGEST_S = 24 * 3600.0
_UNKNOWN = "Unknown link. Please use the complete link that you were given."
_INVALID_FORM = "This form is invalid. Please load the page again."


class Annotator(NamedTuple):
    """An annotator: name, token, and the items as this annotator sees them, by place from 1."""

    name: str
    token: str
    shown: tuple[ShownItem, ...]


class Progress(NamedTuple):
    """An annotator's submissions by item, and the first unanswered place (None: all are done)."""

    submissions: dict[str, Submission]
    next_place: int | None

    @property
    def last(self) -> Submission | None:
        """The latest submission, which `undo` would take back."""
        return next(reversed(self.submissions.values()), None)


class LiveStudy:
    """A study that is being served. `on_complete` runs once every item has been judged."""

    def __init__(
        self,
        study: StudyInfo,
        votes: VoteStore,
        tokens: Mapping[str, str],
        on_complete: Callable[[], object],
    ) -> None:
        self.study = study
        self._votes = votes
        self._on_complete = on_complete
        self._exporting = Lock()
        self.annotators = [
            Annotator(who, tokens[who], assignment(study, who)) for who in study.annotators
        ]

    def annotator(self, token: str) -> Annotator:
        """Return the annotator of a link; every token is compared, each in constant time.

        Raises:
            HTTPException: 404, unknown token.
        """
        given = token.encode(errors="replace")
        matching = [s for s in self.annotators if hmac.compare_digest(s.token.encode(), given)]
        if not matching:
            raise HTTPException(HTTPStatus.NOT_FOUND, _UNKNOWN)
        return matching[0]

    def shown(self, annotator: Annotator, place: int) -> ShownItem:
        """Return the item at a place.

        Raises:
            HTTPException: 404, there is no such place.
        """
        if not 1 <= place <= len(annotator.shown):
            raise HTTPException(
                HTTPStatus.NOT_FOUND, f"There is no item {place}; they go from 1 to {self.study.n}."
            )
        return annotator.shown[place - 1]

    def progress(self, annotator: Annotator) -> Progress:
        """Return an annotator's progress as stored on disk."""
        submissions = self._votes.of(annotator.name)
        open_places = (at.place for at in annotator.shown if at.item.item not in submissions)
        return Progress(submissions, next(open_places, None))

    def place_of(self, annotator: Annotator, submission: Submission) -> int:
        """Return the place of a submission's item."""
        return next(at.place for at in annotator.shown if at.item.item == submission.item)

    def code(self, annotator: Annotator, place: int, shown_at: int) -> str:
        """Return the code that proves that a form was shown to this annotator at that time."""
        text = f"{place}/{shown_at}".encode()
        return hmac.new(annotator.token.encode(), text, hashlib.sha256).hexdigest()

    def check(self, annotator: Annotator, place: int, shown_at: int, code: str) -> None:
        """Verify that this server made a form for this annotator and item.

        Raises:
            HTTPException: 403, it did not.
        """
        expected = self.code(annotator, place, shown_at).encode()
        if not hmac.compare_digest(expected, code.encode(errors="replace")):
            raise HTTPException(HTTPStatus.FORBIDDEN, _INVALID_FORM)

    async def save(
        self, annotator: Annotator, shown: ShownItem, answer: str, *, comment: str, shown_at: int
    ) -> Saved:
        """Store an answer; it is on disk when this returns. `shown_at` in ms since 1970.

        Raises:
            StorageError: it could not be written; nothing was stored.
        """
        seconds = min(_LONGEST_S, max(0.0, time.time() - shown_at / 1000))
        submission = Submission(
            annotator=annotator.name,
            item=shown.item.item,
            answer=answer,
            shown=",".join(map(str, shown.order)),
            comment=comment.strip(),
            seconds=round(seconds, 1),
            submitted_at=now_utc(),
        )
        saved = await wrap_future(self._votes.save(submission))
        if not saved.repeated and self.progress(annotator).next_place is None:
            await to_thread(self._export_if_complete)
        return saved

    async def undo(self, annotator: Annotator, number: int) -> Submission | None:
        """Undo a submission; None if it is not this annotator's or was undone before."""
        return await wrap_future(self._votes.undo(annotator.name, number, now_utc()))

    def _export_if_complete(self) -> None:
        if any(self.progress(annotator).next_place is not None for annotator in self.annotators):
            return
        with self._exporting:
            try:
                self._on_complete()
            except (SrlmError, OSError) as error:  # the votes themselves are stored
                say(f"the study is complete, but its export failed: {error}")
