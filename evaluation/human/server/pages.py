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

from evaluation.human.server.live_study import now_ms
from web.kit.app import Pages

if TYPE_CHECKING:
    from evaluation.human.server.live_study import Annotator, LiveStudy
    from evaluation.human.study import ShownItem
    from evaluation.human.vote_store import Submission

_TEMPLATES = Path(__file__).parent / "templates"
MOST_COMMENT = 4000  # characters
_LATEST = 1 << 53
_MOST_REPLIES = 100

Token = Annotated[str, InPath(max_length=200, description="The secret of a personal link.")]
Place = Annotated[
    int, InPath(ge=1, le=1_000_000, description="Place of the item in the annotator's own order.")
]


class _AnswerForm(BaseModel):
    """The fields of every form besides the answer."""

    comment: Annotated[str, Field(max_length=MOST_COMMENT)] = ""
    shown_at: Annotated[int, Field(ge=0, le=_LATEST)]
    code: Annotated[str, Field(max_length=200)]


class VoteForm(_AnswerForm):
    """A vote: which side is better."""

    choice: Literal["left", "right", "tie"]


class RanksForm(_AnswerForm):
    """A ranking: the rank of each reply, from the top; 1 is the best, equal ranks are ties."""

    rank: Annotated[
        list[Annotated[int, Field(ge=1, le=_MOST_REPLIES)]], Field(max_length=_MOST_REPLIES)
    ]


class UndoForm(BaseModel):
    """The submission to undo."""

    number: Annotated[int, Field(ge=1, le=_LATEST)]
    shown_at: Annotated[int, Field(ge=0, le=_LATEST)]
    code: Annotated[str, Field(max_length=200)]


def study_router(live: LiveStudy) -> APIRouter:
    """Return the pages of one study."""
    views = _Views(live)
    errors: dict[int | str, dict[str, Any]] = {
        HTTPStatus.NOT_FOUND: {"description": "unknown link, or no such item"},
        HTTPStatus.FORBIDDEN: {"description": "the form was not made for this item"},
    }
    router = APIRouter(default_response_class=HTMLResponse, responses=errors)

    @router.get("/")
    async def no_link() -> HTMLResponse:
        """Say that a personal link is needed."""
        return views.pages.render("no_link.html.j2", title="A study")

    @router.get("/study/{token}")
    async def welcome(token: Token) -> HTMLResponse:
        """Show the instructions, the progress, and a link to the next item."""
        return views.welcome(live.annotator(token))

    @router.get("/study/{token}/next", status_code=HTTPStatus.SEE_OTHER)
    async def next_item(token: Token) -> RedirectResponse:
        """Redirect to the first item that is not judged yet, or to the end."""
        return views.next_page(live.annotator(token))

    @router.get("/study/{token}/done")
    async def done(token: Token) -> HTMLResponse:
        """Show the end, or that items are left."""
        return views.done(live.annotator(token))

    @router.post("/study/{token}/undo", status_code=HTTPStatus.SEE_OTHER)
    async def undo(token: Token, form: Annotated[UndoForm, Form()]) -> RedirectResponse:
        """Undo an answer and show its item again; a second click changes nothing."""
        annotator = live.annotator(token)
        live.check(annotator, 0, form.shown_at, form.code)
        undone = await live.undo(annotator, form.number)
        if undone is None:
            return views.next_page(annotator)
        return _redirect(f"/study/{annotator.token}/{live.place_of(annotator, undone)}")

    @router.get("/study/{token}/{place}")
    async def item(token: Token, place: Place) -> HTMLResponse:
        """Show an item, to be judged or as it was judged."""
        annotator = live.annotator(token)
        return views.item(annotator, live.shown(annotator, place))

    add_form = _votes if live.study.kind == "comparison" else _rankings
    add_form(router, live, views)
    return router


def _votes(router: APIRouter, live: LiveStudy, views: _Views) -> None:
    @router.post("/study/{token}/{place}", status_code=HTTPStatus.SEE_OTHER)
    async def vote(
        token: Token, place: Place, form: Annotated[VoteForm, Form()]
    ) -> RedirectResponse:
        """Store a vote and redirect; a second one on the same item changes nothing."""
        annotator, shown = _checked(live, token, place, form)
        choice = voted_for(shown, form.choice)
        await live.save(annotator, shown, choice, comment=form.comment, shown_at=form.shown_at)
        return views.next_page(annotator)


def _rankings(router: APIRouter, live: LiveStudy, views: _Views) -> None:
    @router.post("/study/{token}/{place}", status_code=HTTPStatus.SEE_OTHER)
    async def rank(
        token: Token, place: Place, form: Annotated[RanksForm, Form()]
    ) -> RedirectResponse:
        """Store a ranking and redirect; a second one on the same item changes nothing."""
        annotator, shown = _checked(live, token, place, form)
        ranks = ranked(shown, form.rank)
        await live.save(annotator, shown, ranks, comment=form.comment, shown_at=form.shown_at)
        return views.next_page(annotator)


def _checked(
    live: LiveStudy, token: str, place: int, form: _AnswerForm
) -> tuple[Annotator, ShownItem]:
    """Return the annotator and the item of a form, once its code has been verified."""
    annotator = live.annotator(token)
    shown = live.shown(annotator, place)
    live.check(annotator, place, form.shown_at, form.code)
    return annotator, shown


def voted_for(shown: ShownItem, choice: Literal["left", "right", "tie"]) -> str:
    """Map a side to the model shown there: "A", "B" or "tie"."""
    if choice == "tie":
        return "tie"
    return "AB"[shown.order[0 if choice == "left" else 1]]


def ranked(shown: ShownItem, ranks: list[int]) -> str:
    """Return ranks given from top to bottom in the order of the study's texts, e.g. "2,1,1".

    Raises:
        HTTPException: 422, a rank is missing or beyond the number of replies.
    """
    n = len(shown.order)
    if len(ranks) != n or max(ranks) > n:
        message = f"Expected a rank from 1 to {n} for each of the {n} replies."
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, message)
    by_text = dict(zip(shown.order, ranks, strict=True))
    return ",".join(str(by_text[at]) for at in range(n))


class _Views:
    """Renders a study's pages."""

    def __init__(self, live: LiveStudy) -> None:
        self._live = live
        self.pages = Pages(_TEMPLATES)

    def next_page(self, annotator: Annotator) -> RedirectResponse:
        place = self._live.progress(annotator).next_place
        return _redirect(f"/study/{annotator.token}/{'done' if place is None else place}")

    def welcome(self, annotator: Annotator) -> HTMLResponse:
        return self._page("welcome", annotator, title="Which answer is better?")

    def done(self, annotator: Annotator) -> HTMLResponse:
        return self._page("done", annotator, title="Done")

    def item(self, annotator: Annotator, shown: ShownItem) -> HTMLResponse:
        values = self._values(annotator)
        submission: Submission | None = values["progress"].submissions.get(shown.item.item)
        return self.pages.render(
            f"{self._live.study.kind}.html.j2",
            **values,
            title=f"Item {shown.place} of {self._live.study.n}",
            shown=shown,
            submission=submission,
            given=None
            if submission is None
            else _given(self._live.study.kind, shown, submission.answer),
            code=self._live.code(annotator, shown.place, values["shown_at"]),
            most_comment=MOST_COMMENT,
        )

    def _page(self, name: str, annotator: Annotator, *, title: str) -> HTMLResponse:
        return self.pages.render(f"{name}.html.j2", **self._values(annotator), title=title)

    def _values(self, annotator: Annotator) -> dict[str, Any]:
        shown_at = now_ms()
        return {
            "kind": self._live.study.kind,
            "n": self._live.study.n,
            "here": f"/study/{annotator.token}",
            "progress": self._live.progress(annotator),
            "shown_at": shown_at,
            "undo_code": self._live.code(annotator, 0, shown_at),
        }


def _given(kind: str, shown: ShownItem, answer: str) -> Any:
    """Return an answer as it was given: a side, or the ranks from top to bottom."""
    if kind == "ranking":
        ranks = answer.split(",")
        return [int(ranks[at]) for at in shown.order]
    sides = {voted_for(shown, side): side for side in ("left", "right", "tie")}
    return sides[answer]


def _redirect(address: str) -> RedirectResponse:
    return RedirectResponse(address, HTTPStatus.SEE_OTHER)
