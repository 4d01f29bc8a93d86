"""Pages of a study. None of them names a model, a run or an artifact.

Every page works without scripts: forms are posted and answered by a redirect (303). study.js adds
keyboard shortcuts.
"""

from __future__ import annotations

import time
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from fastapi import APIRouter, Form, HTTPException
from fastapi import Path as InPath
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import BaseModel, Field

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
Side = Literal["left", "right", "tie"]
Comment = Annotated[str, Field(max_length=MOST_COMMENT)]
Place = Annotated[
    int, InPath(ge=1, le=1_000_000, description="Place of the item in the annotator's own order.")
]


class _ShownForm(BaseModel):
    """The fields that prove that a form was shown."""

    shown_at: Annotated[int, Field(ge=0, le=_LATEST)]
    code: Annotated[str, Field(max_length=200)]


class UndoForm(_ShownForm):
    """The submission to undo."""

    number: Annotated[int, Field(ge=1, le=_LATEST)]


class VoteForm(_ShownForm):
    """A vote: which side is better."""

    comment: Comment = ""
    choice: Side

    def answer(self, shown: ShownItem) -> str:
        """Return the choice as it is stored: "A", "B" or "tie"."""
        return _voted_for(shown, self.choice)


class RanksForm(_ShownForm):
    """A ranking: the rank of each reply, from the top; 1 is the best, equal ranks are ties."""

    comment: Comment = ""
    rank: Annotated[
        list[Annotated[int, Field(ge=1, le=_MOST_REPLIES)]], Field(max_length=_MOST_REPLIES)
    ]

    def answer(self, shown: ShownItem) -> str:
        """Return the ranks as they are stored, in the order of the study's texts, e.g. "2,1,1".

        Raises:
            HTTPException: 422, a rank is missing or beyond the number of replies.
        """
        n = len(shown.order)
        if len(self.rank) != n or max(self.rank) > n:
            message = f"Expected a rank from 1 to {n} for each of the {n} replies."
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, message)
        by_text = dict(zip(shown.order, self.rank, strict=True))
        return ",".join(str(by_text[at]) for at in range(n))


def study_router(live: LiveStudy) -> APIRouter:
    """Return the pages of one study."""
    pages = Pages(_TEMPLATES)
    errors: dict[int | str, dict[str, Any]] = {
        HTTPStatus.NOT_FOUND: {"description": "unknown link, or no such item"},
        HTTPStatus.FORBIDDEN: {"description": "the form was not made for this item"},
    }
    router = APIRouter(default_response_class=HTMLResponse, responses=errors)

    @router.get("/")
    async def no_link() -> HTMLResponse:
        """Say that a personal link is needed."""
        return pages.render("no_link.html.j2", title="A study")

    @router.get("/study/{token}")
    async def welcome(token: Token) -> HTMLResponse:
        """Show the instructions, the progress, and a link to the next item."""
        values = _common(live, live.annotator(token))
        return pages.render("welcome.html.j2", **values, title="Which answer is better?")

    @router.get("/study/{token}/next", status_code=HTTPStatus.SEE_OTHER)
    async def next_item(token: Token) -> RedirectResponse:
        """Redirect to the first item that is not judged yet, or to the end."""
        return _next(live, live.annotator(token))

    @router.get("/study/{token}/done")
    async def done(token: Token) -> HTMLResponse:
        """Show the end, or that items are left."""
        return pages.render("done.html.j2", **_common(live, live.annotator(token)), title="Done")

    @router.post("/study/{token}/undo", status_code=HTTPStatus.SEE_OTHER)
    async def undo(token: Token, form: Annotated[UndoForm, Form()]) -> RedirectResponse:
        """Undo an answer and show its item again; a second click changes nothing."""
        annotator = live.annotator(token)
        live.check(annotator, 0, form.shown_at, form.code)
        undone = await live.undo(annotator, form.number)
        if undone is None:
            return _next(live, annotator)
        return _redirect(annotator, live.place_of(annotator, undone))

    @router.get("/study/{token}/{place}")
    async def item(token: Token, place: Place) -> HTMLResponse:
        """Show an item, to be judged or as it was judged."""
        annotator = live.annotator(token)
        values = _item(live, annotator, live.shown(annotator, place))
        return pages.render(f"{live.study.kind}.html.j2", **values)

    (_votes if live.study.kind == "comparison" else _rankings)(router, live)
    return router


def _votes(router: APIRouter, live: LiveStudy) -> None:
    @router.post("/study/{token}/{place}", status_code=HTTPStatus.SEE_OTHER)
    async def vote(
        token: Token, place: Place, form: Annotated[VoteForm, Form()]
    ) -> RedirectResponse:
        """Store a vote and redirect; a second one on the same item changes nothing."""
        return await _save(live, token, place, form)


def _rankings(router: APIRouter, live: LiveStudy) -> None:
    @router.post("/study/{token}/{place}", status_code=HTTPStatus.SEE_OTHER)
    async def rank(
        token: Token, place: Place, form: Annotated[RanksForm, Form()]
    ) -> RedirectResponse:
        """Store a ranking and redirect; a second one on the same item changes nothing."""
        return await _save(live, token, place, form)


async def _save(
    live: LiveStudy, token: str, place: int, form: VoteForm | RanksForm
) -> RedirectResponse:
    annotator = live.annotator(token)
    shown = live.shown(annotator, place)
    live.check(annotator, place, form.shown_at, form.code)
    answer = form.answer(shown)
    await live.save(annotator, shown, answer, comment=form.comment, shown_at=form.shown_at)
    return _next(live, annotator)


def _next(live: LiveStudy, annotator: Annotator) -> RedirectResponse:
    return _redirect(annotator, live.progress(annotator).next_place or "done")


def _voted_for(shown: ShownItem, side: Side) -> str:
    """Map a side to the model shown there: "A", "B" or "tie"."""
    return "tie" if side == "tie" else "AB"[shown.order[side == "right"]]


def _common(live: LiveStudy, annotator: Annotator) -> dict[str, Any]:
    shown_at = time.time_ns() // 1_000_000
    return {
        "kind": live.study.kind,
        "n": live.study.n,
        "here": f"/study/{annotator.token}",
        "progress": live.progress(annotator),
        "shown_at": shown_at,
        "undo_code": live.code(annotator, 0, shown_at),
    }


def _item(live: LiveStudy, annotator: Annotator, shown: ShownItem) -> dict[str, Any]:
    values = _common(live, annotator)
    submission: Submission | None = values["progress"].submissions.get(shown.item.item)
    return values | {
        "title": f"Item {shown.place} of {live.study.n}",
        "shown": shown,
        "submission": submission,
        "given": submission and _given(live.study.kind, shown, submission.answer),
        "code": live.code(annotator, shown.place, values["shown_at"]),
        "most_comment": MOST_COMMENT,
    }


def _given(kind: str, shown: ShownItem, answer: str) -> Any:
    """Return an answer as it was given: a side, or the ranks from top to bottom."""
    if kind == "ranking":
        ranks = answer.split(",")
        return [int(ranks[at]) for at in shown.order]
    return next(side for side in get_args(Side) if _voted_for(shown, side) == answer)


def _redirect(annotator: Annotator, where: str | int) -> RedirectResponse:
    return RedirectResponse(f"/study/{annotator.token}/{where}", HTTPStatus.SEE_OTHER)
