"""Views: their addresses, what may be asked of them, and the artifacts that they show."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

from core.benchmarks import Subject
from core.errors import MissingArtifact
from web.explorer import pages as ui

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from core.stages import Ref, Stage
    from web.explorer.source import Source


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter or an order with fixed values and their labels; the first one is the default.

    `name` is "show" or "order", which are also the names in the address.
    """

    name: Literal["show", "order"]
    label: str
    options: Mapping[str, str]

    def select(self, query: ui.Query) -> ui.Select:
        """Return the filter as a page shows it."""
        chosen: str = getattr(query, self.name)
        return ui.select(self.name, self.label, self.options, chosen)


def show(**options: str) -> Filter:
    """Return a filter; every list begins with "all"."""
    return Filter("show", "Show", options)


def order(**options: str) -> Filter:
    """Return an order; every list begins with the order of the file, and has "longest"."""
    return Filter("order", "Order", {"made": "as they were made"} | options)


ANSWER_ORDER = order(longest="longest answer first")


class Scores(NamedTuple):
    """A benchmark's line on the page of the run: its title, where its scores are, which to show.

    `of`: what there is a line for; {name} in `title` and `address` stands for it. "part": items
    that are right or wrong, counted for each model.
    """

    of: Literal["matchup", "model", "judge", "part", "iteration"]
    title: str
    address: str = ""
    headlines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class View:
    """One page of the explorer, or one for each iteration ({k} in `path`) or task ({task}).

    `page`: makes it; raises MissingArtifact where there is nothing to show. Its docstring describes
        the view in the API, unless `about` does.
    `menu`: its label in the navigation; "" if it is not there.
    `filters`, `asks`: what its address takes besides (see app.py). A view that asks for a key is
        about one row; the others list rows.
    `rows_of`: benchmark ("" for the loop) and stage of the artifacts that it shows.
    `scores`: its benchmark's line on the page of the run.
    """

    path: str
    page: Callable[[Source, ui.Query], ui.Page]
    menu: str = ""
    filters: tuple[Filter, ...] = ()
    asks: tuple[str, ...] = ()
    rows_of: tuple[tuple[str, Stage], ...] = ()
    scores: Scores | None = None
    about: str = ""

    @property
    def description(self) -> str:
        """What it shows."""
        page = self.page.func if isinstance(self.page, partial) else self.page
        return self.about or page.__doc__ or ""

    def address(self, k: int | None = None, task: str = "", **query: str | int | None) -> str:
        """Return the address of one of its pages."""
        return ui.link(self.path.format(k=k, task=task), **query)


def row_address(views: Sequence[View], ref: Ref, key: str, prompt: str) -> str:
    """Return the address of the view about a row; of the page of its fields if there is none.

    `prompt`: the key of the prompt that the row is about (see index/facts.py).
    """
    view = _view(views, ref, about_one=True)
    if view is None:
        return ui.row_link(ref, key).href
    return view.address(*_place(ref), key=prompt)


def list_address(views: Sequence[View], ref: Ref) -> str:
    """Return the address of the view that lists an artifact's rows."""
    view = _view(views, ref, about_one=False)
    return ui.artifact_link(ref) if view is None else view.address(*_place(ref))


def _view(views: Sequence[View], ref: Ref, *, about_one: bool) -> View | None:
    subject = Subject.parse(ref.address)
    wanted = ("" if subject is None else subject.benchmark, ref.stage)
    found = (view for view in views if wanted in view.rows_of)
    return next((view for view in found if ("key" in view.asks) == about_one), None)


def _place(ref: Ref) -> tuple[int | None, str]:
    """Return the iteration and the task of an artifact."""
    subject = Subject.parse(ref.address)
    return (ref.iteration, "") if subject is None else (subject.iteration, subject.part)


def no_such(what: str, instead: str) -> MissingArtifact:
    """Return the error for an object that the run does not have; `instead`: what it has."""
    return MissingArtifact(f"this run has no {what}; {instead}")
