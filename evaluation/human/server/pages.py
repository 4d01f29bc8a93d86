"""Pages of a study. None of them names a model, a run or an artifact.

Every page works without scripts: forms are posted and answered by a redirect (303). study.js adds
keyboard shortcuts.
"""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Form, HTTPException
from fastapi import Path as InPath
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import BaseModel, Field

from evaluation.human.server.desk import now_ms
from web.kit.app import Pages

if TYPE_CHECKING:
    from evaluation.human.ballots import Ballot
    from evaluation.human.server.desk import Desk, Seat
    from evaluation.human.study import Shown

_TEMPLATES = Path(__file__).parent / "templates"
MOST_COMMENT = 4000  # characters
_LATEST = 1 << 53
_MOST_REPLIES = 100

Token = Annotated[str, InPath(max_length=200, description="The secret of a personal link.")]
Place = Annotated[int, InPath(ge=1, le=1_000_000, description="Which item, in one's own order.")]


class _Answered(BaseModel):
    """What every form carries besides the answer."""

    comment: Annotated[str, Field(max_length=MOST_COMMENT)] = ""
    shown_at: Annotated[int, Field(ge=0, le=_LATEST)]
    code: Annotated[str, Field(max_length=200)]


class VoteForm(_Answered):
    """A vote: which side is better."""

    choice: Literal["left", "right", "tie"]


class RanksForm(_Answered):
    """A ranking: the rank of each reply, from the top; 1 is the best, equal ranks are ties."""

    rank: Annotated[
        list[Annotated[int, Field(ge=1, le=_MOST_REPLIES)]], Field(max_length=_MOST_REPLIES)
    ]


class UndoForm(BaseModel):
    """Which ballot to take back."""

    number: Annotated[int, Field(ge=1, le=_LATEST)]
    shown_at: Annotated[int, Field(ge=0, le=_LATEST)]
    code: Annotated[str, Field(max_length=200)]


def study_router(desk: Desk) -> APIRouter:
    """Return the pages of one study."""
    views = _Views(desk)
    said: dict[int | str, dict[str, Any]] = {
        HTTPStatus.NOT_FOUND: {"description": "nobody's link, or no such item"},
        HTTPStatus.FORBIDDEN: {"description": "the form was not given out by this item's page"},
    }
    router = APIRouter(default_response_class=HTMLResponse, responses=said)

    @router.get("/")
    async def no_link() -> HTMLResponse:
        """Say that a personal link is needed."""
        return views.pages.render("nobody.html.j2", title="A study")

    @router.get("/study/{token}")
    async def welcome(token: Token) -> HTMLResponse:
        """Show what is asked, how far one is, and where to go on."""
        return views.welcome(desk.seat(token))

    @router.get("/study/{token}/next", status_code=HTTPStatus.SEE_OTHER)
    async def next_item(token: Token) -> RedirectResponse:
        """Lead to the first item that is not judged yet, or to the end."""
        return views.onward(desk.seat(token))

    @router.get("/study/{token}/done")
    async def done(token: Token) -> HTMLResponse:
        """Show the end, or that something is left."""
        return views.done(desk.seat(token))

    @router.post("/study/{token}/undo", status_code=HTTPStatus.SEE_OTHER)
    async def undo(token: Token, form: Annotated[UndoForm, Form()]) -> RedirectResponse:
        """Take back an answer and show its item again; the second click changes nothing."""
        seat = desk.seat(token)
        desk.check(seat, 0, form.shown_at, form.code)
        undone = await desk.undo(seat, form.number)
        if undone is None:
            return views.onward(seat)
        return _lead(f"/study/{seat.token}/{desk.place_of(seat, undone)}")

    @router.get("/study/{token}/{place}")
    async def item(token: Token, place: Place) -> HTMLResponse:
        """Show an item, to be judged or as it was judged."""
        seat = desk.seat(token)
        return views.item(seat, desk.shown(seat, place))

    answered = _votes if desk.study.kind == "comparison" else _rankings
    answered(router, desk, views)
    return router


def _votes(router: APIRouter, desk: Desk, views: _Views) -> None:
    @router.post("/study/{token}/{place}", status_code=HTTPStatus.SEE_OTHER)
    async def vote(
        token: Token, place: Place, form: Annotated[VoteForm, Form()]
    ) -> RedirectResponse:
        """Keep a vote and lead on; a second one on the same item changes nothing."""
        seat, shown = _checked(desk, token, place, form)
        choice = chosen(shown, form.choice)
        await desk.cast(seat, shown, choice, comment=form.comment, shown_at=form.shown_at)
        return views.onward(seat)


def _rankings(router: APIRouter, desk: Desk, views: _Views) -> None:
    @router.post("/study/{token}/{place}", status_code=HTTPStatus.SEE_OTHER)
    async def rank(
        token: Token, place: Place, form: Annotated[RanksForm, Form()]
    ) -> RedirectResponse:
        """Keep a ranking and lead on; a second one on the same item changes nothing."""
        seat, shown = _checked(desk, token, place, form)
        ranks = ranked(shown, form.rank)
        await desk.cast(seat, shown, ranks, comment=form.comment, shown_at=form.shown_at)
        return views.onward(seat)


def _checked(desk: Desk, token: str, place: int, form: _Answered) -> tuple[Seat, Shown]:
    """Return whose answer a form is and to what, once its code has been checked."""
    seat = desk.seat(token)
    shown = desk.shown(seat, place)
    desk.check(seat, place, form.shown_at, form.code)
    return seat, shown


def chosen(shown: Shown, choice: Literal["left", "right", "tie"]) -> str:
    """Return whose answer a choice of side means: "A", "B" or "tie"."""
    if choice == "tie":
        return "tie"
    return "AB"[shown.order[0 if choice == "left" else 1]]


def ranked(shown: Shown, ranks: list[int]) -> str:
    """Return ranks given from the top in the order of the study's texts, e.g. "2,1,1".

    Raises:
        HTTPException: 422, a rank is missing or beyond the number of replies.
    """
    n = len(shown.order)
    if len(ranks) != n or max(ranks) > n:
        said = f"Expected a rank from 1 to {n} for each of the {n} replies."
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, said)
    by_text = dict(zip(shown.order, ranks, strict=True))
    return ",".join(str(by_text[at]) for at in range(n))


class _Views:
    """Renders a study's pages."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.pages = Pages(_TEMPLATES)

    def onward(self, seat: Seat) -> RedirectResponse:
        place = self._desk.progress(seat).next_place
        return _lead(f"/study/{seat.token}/{'done' if place is None else place}")

    def welcome(self, seat: Seat) -> HTMLResponse:
        return self._page("welcome", seat, title="Which answer is better?")

    def done(self, seat: Seat) -> HTMLResponse:
        return self._page("done", seat, title="The end")

    def item(self, seat: Seat, shown: Shown) -> HTMLResponse:
        values = self._values(seat)
        ballot: Ballot | None = values["progress"].ballots.get(shown.item.item)
        return self.pages.render(
            f"{self._desk.study.kind}.html.j2",
            **values,
            title=f"Item {shown.place} of {self._desk.study.n}",
            shown=shown,
            ballot=ballot,
            given=None if ballot is None else _given(self._desk.study.kind, shown, ballot.answer),
            code=self._desk.code(seat, shown.place, values["shown_at"]),
            most_comment=MOST_COMMENT,
        )

    def _page(self, name: str, seat: Seat, *, title: str) -> HTMLResponse:
        return self.pages.render(f"{name}.html.j2", **self._values(seat), title=title)

    def _values(self, seat: Seat) -> dict[str, Any]:
        shown_at = now_ms()
        return {
            "kind": self._desk.study.kind,
            "n": self._desk.study.n,
            "here": f"/study/{seat.token}",
            "progress": self._desk.progress(seat),
            "shown_at": shown_at,
            "undo_code": self._desk.code(seat, 0, shown_at),
        }


def _given(kind: str, shown: Shown, answer: str) -> Any:
    """Return an answer as it was given: a side, or the ranks from the top."""
    if kind == "ranking":
        ranks = answer.split(",")
        return [int(ranks[at]) for at in shown.order]
    sides = {chosen(shown, side): side for side in ("left", "right", "tie")}
    return sides[answer]


def _lead(address: str) -> RedirectResponse:
    return RedirectResponse(address, HTTPStatus.SEE_OTHER)
