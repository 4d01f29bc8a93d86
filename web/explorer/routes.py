"""Each page's address. All are read with GET and change nothing."""

# ruff: noqa: TC001 - FastAPI reads the signatures when it runs

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import HTMLResponse

from web.explorer.index import finding
from web.explorer.pages import Asked, link
from web.explorer.queries import (
    BothShow,
    FlipShow,
    GradeOrder,
    GradeShow,
    ItemShow,
    Iteration,
    JudgmentOrder,
    JudgmentShow,
    Name,
    Order,
    PageNumber,
    PairOrder,
    RankedShow,
    Raw,
    RowKey,
    SearchWords,
    Whole,
)
from web.explorer.templating import View
from web.explorer.views import (
    alpaca,
    chain,
    grades,
    head_to_head,
    judging,
    loop,
    nlp_items,
    overview,
    rows,
)

if TYPE_CHECKING:
    from web.explorer.source import Source
    from web.explorer.templating import Templates


def routers(source: Source, templates: Templates) -> tuple[APIRouter, ...]:
    """Return the routes of every page over a run."""
    parts = (_loop, _comparisons, _grades, _rows)
    return tuple(part(source, templates) for part in parts)


def _router() -> APIRouter:
    said = "it is not there; the page says what is"
    return APIRouter(
        default_response_class=HTMLResponse,
        dependencies=[Depends(how_shown)],
        responses={404: {"description": said}},
    )


def how_shown(request: Request, *, raw: Raw = False, whole: Whole = False) -> None:
    """Note how the page shows texts."""
    request.state.view = View(raw, whole)


def _loop(source: Source, templates: Templates) -> APIRouter:
    router = _router()

    @router.get("/")
    def run(request: Request) -> HTMLResponse:
        """Return what the run has: iterations, benchmarks, models."""
        return templates.page(request, overview.overview(source))

    @router.get("/iteration/{k}")
    def iteration(request: Request, *, k: Iteration) -> HTMLResponse:
        """Return what an iteration has."""
        known = ", ".join(map(str, source.run.iterations))
        found = overview.iteration(source, k)
        return templates.page(request, _or_404(found, f"iteration {k}; there are {known}"))

    @router.get("/iteration/{k}/prompts")
    def prompts(
        request: Request,
        k: Iteration,
        *,
        outcome: Name = "",
        order: Order = "made",
        q: SearchWords = "",
        page: PageNumber = 1,
    ) -> HTMLResponse:
        """Return an iteration's prompts: kept, or rejected and why."""
        asked = Asked(outcome=outcome, order=order, q=q, page=page)
        return templates.page(request, loop.prompts(source, k, asked))

    @router.get("/iteration/{k}/prompt")
    def prompt(request: Request, k: Iteration, *, key: RowKey) -> HTMLResponse:
        """Return one prompt with its call, candidates, judgments and pair."""
        all_of_them = link(f"/iteration/{k}/prompts")
        found = _or_404(chain.prompt(source, k, key), f"prompt {key!r}; all are at {all_of_them}")
        return templates.page(request, found)

    @router.get("/iteration/{k}/judgments")
    def judgments(
        request: Request,
        k: Iteration,
        *,
        show: JudgmentShow = "all",
        outcome: Name = "",
        order: JudgmentOrder = "made",
        q: SearchWords = "",
        page: PageNumber = 1,
    ) -> HTMLResponse:
        """Return the judge's replies, or the answers about which they disagree."""
        asked = Asked(outcome, show, order, q=q, page=page)
        return templates.page(request, loop.judgments(source, k, asked))

    @router.get("/iteration/{k}/pairs")
    def pairs(
        request: Request,
        k: Iteration,
        *,
        outcome: Name = "",
        order: PairOrder = "made",
        q: SearchWords = "",
        page: PageNumber = 1,
    ) -> HTMLResponse:
        """Return what became of each prompt: a pair, or why not."""
        asked = Asked(outcome=outcome, order=order, q=q, page=page)
        return templates.page(request, loop.pairs(source, k, asked))

    @router.get("/iteration/{k}/self-judge")
    def self_judge(
        request: Request, k: Iteration, *, show: BothShow = "all", page: PageNumber = 1
    ) -> HTMLResponse:
        """Return the answers that the run's own judge and the external one saw."""
        return templates.page(request, judging.self_judge(source, k, Asked(show=show, page=page)))

    return router


def _comparisons(source: Source, templates: Templates) -> APIRouter:
    router = _router()

    @router.get("/head-to-head")
    def comparisons(
        request: Request,
        *,
        model: Name = "",
        show: FlipShow = "all",
        order: Order = "made",
        page: PageNumber = 1,
    ) -> HTMLResponse:
        """Return comparisons; `model` is a pair of models such as M2-M1."""
        asked = Asked(show=show, order=order, model=model, page=page)
        return templates.page(request, head_to_head.head_to_head(source, asked))

    @router.get("/head-to-head/prompt")
    def comparison(request: Request, *, key: RowKey) -> HTMLResponse:
        """Return every model's answer to a prompt and every verdict."""
        found = head_to_head.head_to_head_prompt(source, key)
        return templates.page(request, _or_404(found, f"prompt {key!r}; all are at /head-to-head"))

    @router.get("/alpaca-eval")
    def annotations(
        request: Request,
        *,
        model: Name = "",
        outcome: Name = "",
        order: Order = "made",
        page: PageNumber = 1,
    ) -> HTMLResponse:
        """Return AlpacaEval's annotations of one model or of all."""
        asked = Asked(outcome=outcome, order=order, model=model, page=page)
        return templates.page(request, alpaca.alpaca_eval(source, asked))

    @router.get("/alpaca-eval/prompt")
    def annotated(request: Request, *, key: RowKey) -> HTMLResponse:
        """Return every answer to an instruction with the judge's words."""
        found = alpaca.instruction(source, key)
        return templates.page(request, _or_404(found, f"prompt {key!r}; all are at /alpaca-eval"))

    return router


def _grades(source: Source, templates: Templates) -> APIRouter:
    router = _router()

    @router.get("/mt-bench")
    def graded(
        request: Request,
        *,
        model: Name = "",
        show: GradeShow = "all",
        order: GradeOrder = "made",
        page: PageNumber = 1,
    ) -> HTMLResponse:
        """Return MT-Bench's grades of one model or of all."""
        asked = Asked(show=show, order=order, model=model, page=page)
        return templates.page(request, grades.mt_bench(source, asked))

    @router.get("/mt-bench/question")
    def question(request: Request, *, key: RowKey) -> HTMLResponse:
        """Return every answer to both turns of a question with every grade."""
        found = grades.mt_question(source, key)
        return templates.page(request, _or_404(found, f"question {key!r}; all are at /mt-bench"))

    @router.get("/nlp/{task}")
    def items(
        request: Request, *, task: str, show: ItemShow = "all", page: PageNumber = 1
    ) -> HTMLResponse:
        """Return a task's items, right or wrong for every model."""
        found = nlp_items.nlp(source, task, Asked(show=show, page=page))
        known = ", ".join(source.run.parts("nlp")) or "none"
        return templates.page(request, _or_404(found, f"task {task!r}; there are {known}"))

    @router.get("/nlp/{task}/item")
    def item(request: Request, *, task: str, key: RowKey) -> HTMLResponse:
        """Return what every model did with one item."""
        found = nlp_items.nlp_item(source, task, key)
        all_of_them = link(f"/nlp/{task}")
        return templates.page(request, _or_404(found, f"item {key!r}; all are at {all_of_them}"))

    @router.get("/agreement")
    def agreement(
        request: Request, *, model: Name = "", show: RankedShow = "all", page: PageNumber = 1
    ) -> HTMLResponse:
        """Return how a judge scored the replies that humans ranked."""
        asked = Asked(show=show, model=model, page=page)
        return templates.page(request, judging.agreement(source, asked))

    @router.get("/agreement/prompt")
    def ranked(request: Request, *, key: RowKey) -> HTMLResponse:
        """Return a prompt's human-ranked replies with every judge's words."""
        found = judging.ranked_prompt(source, key)
        return templates.page(request, _or_404(found, f"prompt {key!r}; all are at /agreement"))

    return router


def _rows(source: Source, templates: Templates) -> APIRouter:
    router = _router()

    @router.get("/search")
    def search(
        request: Request, *, q: SearchWords = "", only: Name = "", page: PageNumber = 1
    ) -> HTMLResponse:
        """Return the rows of the run that hold every word."""
        return templates.page(request, finding.search(source, Asked(q=q, page=page), only))

    @router.get("/artifact")
    def artifact(
        request: Request,
        *,
        address: Name,
        outcome: Name = "",
        q: SearchWords = "",
        page: PageNumber = 1,
    ) -> HTMLResponse:
        """Return an artifact's rows with what it was made from."""
        found = rows.artifact(source, address, Asked(outcome=outcome, q=q, page=page))
        known = ", ".join(source.run.store.artifacts())
        return templates.page(request, _or_404(found, f"artifact {address!r}; there are {known}"))

    @router.get("/row")
    def row(request: Request, *, artifact: Name, key: RowKey) -> HTMLResponse:
        """Return one row exactly as it is."""
        found = rows.row(source, artifact, key)
        all_of_them = link("/artifact", address=artifact)
        said = f"row {key!r} in {artifact!r}; its rows are at {all_of_them}"
        return templates.page(request, _or_404(found, said))

    @router.get("/{path:path}", include_in_schema=False)
    def nothing(path: str) -> HTMLResponse:
        """Say what pages there are."""
        pages = ("/", "/head-to-head", "/alpaca-eval", "/mt-bench", "/agreement", "/search")
        iterations = [f"/iteration/{k}" for k in source.run.iterations]
        tasks = [link(f"/nlp/{task}") for task in source.run.parts("nlp")]
        known = ", ".join((*pages, *iterations, *tasks))
        raise HTTPException(HTTPStatus.NOT_FOUND, f"no page {path!r}; there are {known}")

    return router


def _or_404(found: Any, what: str) -> Any:
    """Return what was found, or answer that there is none and what there is instead."""
    if found is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"this run has no {what}")
    return found
