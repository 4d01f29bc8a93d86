"""What happens at a study's server, without its pages: who has a link, what is next, what is said.

A link's token is all that identifies an annotator; there are no cookies, so no other site's page
can make a browser vote. Each form carries a code made from that token, the item and the time at
which it was shown: a vote counts only for an item that this annotator was shown.
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
from evaluation.human.ballots import Ballot
from evaluation.human.study import assignment, now_utc

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from evaluation.human.ballots import BallotBox, Cast
    from evaluation.human.study import Shown, StudyInfo

_LONGEST_S = 24 * 3600.0
_UNKNOWN = "This link opens nothing. Please use the whole link that you were given."
_NOT_THIS_FORM = "This form is not the one that the page gave out. Please load the page again."


class Seat(NamedTuple):
    """An annotator: name, token, and the items as this annotator sees them, by place from 1."""

    annotator: str
    token: str
    shown: tuple[Shown, ...]


class Progress(NamedTuple):
    """An annotator's ballots by item, and the first place that has none (None: all are done)."""

    ballots: dict[str, Ballot]
    next_place: int | None

    @property
    def last(self) -> Ballot | None:
        """The ballot cast last, which `undo` would take back."""
        return next(reversed(self.ballots.values()), None)


class Desk:
    """One study that is being answered. `on_complete` runs when everything has been judged."""

    def __init__(
        self,
        study: StudyInfo,
        box: BallotBox,
        tokens: Mapping[str, str],
        on_complete: Callable[[], object],
    ) -> None:
        """Seat the annotators."""
        self.study = study
        self._box = box
        self._on_complete = on_complete
        self._exporting = Lock()
        self._seats = [Seat(who, tokens[who], assignment(study, who)) for who in study.annotators]

    @property
    def tokens(self) -> list[str]:
        """Every annotator's token."""
        return [seat.token for seat in self._seats]

    def seat(self, token: str) -> Seat:
        """Return whose link this is; every token is compared, each in constant time.

        Raises:
            HTTPException: 404, nobody's.
        """
        said = token.encode(errors="replace")
        matching = [s for s in self._seats if hmac.compare_digest(s.token.encode(), said)]
        if not matching:
            raise HTTPException(HTTPStatus.NOT_FOUND, _UNKNOWN)
        return matching[0]

    def shown(self, seat: Seat, place: int) -> Shown:
        """Return what stands in a place.

        Raises:
            HTTPException: 404, the study has no such place.
        """
        if not 1 <= place <= len(seat.shown):
            raise HTTPException(
                HTTPStatus.NOT_FOUND, f"There is no item {place}; they go from 1 to {self.study.n}."
            )
        return seat.shown[place - 1]

    def progress(self, seat: Seat) -> Progress:
        """Return what an annotator has done, as the disk has it."""
        ballots = self._box.of(seat.annotator)
        open_places = (at.place for at in seat.shown if at.item.item not in ballots)
        return Progress(ballots, next(open_places, None))

    def place_of(self, seat: Seat, ballot: Ballot) -> int:
        """Return the place of a ballot's item."""
        return next(at.place for at in seat.shown if at.item.item == ballot.item)

    def code(self, seat: Seat, place: int, shown_at: int) -> str:
        """Return the code that proves a form was shown to this annotator at that time."""
        said = f"{place}/{shown_at}".encode()
        return hmac.new(seat.token.encode(), said, hashlib.sha256).hexdigest()

    def check(self, seat: Seat, place: int, shown_at: int, code: str) -> None:
        """Accept a form that this server made for this annotator and item.

        Raises:
            HTTPException: 403, it did not.
        """
        expected = self.code(seat, place, shown_at).encode()
        if not hmac.compare_digest(expected, code.encode(errors="replace")):
            raise HTTPException(HTTPStatus.FORBIDDEN, _NOT_THIS_FORM)

    async def cast(
        self, seat: Seat, shown: Shown, answer: str, *, comment: str, shown_at: int
    ) -> Cast:
        """Keep an answer; it is on the disk when this returns. `shown_at` in ms since 1970.

        Raises:
            StorageError: the disk refused it; nothing was kept.
        """
        seconds = min(_LONGEST_S, max(0.0, time.time() - shown_at / 1000))
        ballot = Ballot(
            annotator=seat.annotator,
            item=shown.item.item,
            answer=answer,
            shown=",".join(map(str, shown.order)),
            comment=comment.strip(),
            seconds=round(seconds, 1),
            cast_at=now_utc(),
        )
        cast = await wrap_future(self._box.cast(ballot))
        if not cast.repeated and self.progress(seat).next_place is None:
            await to_thread(self._export_if_complete)
        return cast

    async def undo(self, seat: Seat, number: int) -> Ballot | None:
        """Take a ballot back; None if it is not this annotator's or was taken back before."""
        return await wrap_future(self._box.undo(seat.annotator, number, now_utc()))

    def _export_if_complete(self) -> None:
        if any(self.progress(seat).next_place is not None for seat in self._seats):
            return
        with self._exporting:
            try:
                self._on_complete()
            except (SrlmError, OSError) as error:  # the votes themselves are safe
                say(f"the study is complete, but its export failed: {error}")


def now_ms() -> int:
    """Return the time as forms carry it: milliseconds since 1970."""
    return time.time_ns() // 1_000_000
