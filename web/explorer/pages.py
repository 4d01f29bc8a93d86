"""Pages as data: lists with filters, tables, and texts side by side. Templates lay them out.

Addresses are relative to the explorer's root and made by `link` alone, so that any key stays one
value of the query.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.records import Candidate, Generation, Judgment
    from core.stages import Ref

T = TypeVar("T")

PER_PAGE = 50
NONE = "–"
_LONGEST = 160  # characters of a text in a table


class Link(NamedTuple):
    """A label that leads to another page."""

    label: str
    href: str


RUN = Link("Run", "/")


class Badge(NamedTuple):
    """A short fact beside a heading; `kind` is "good", "bad", "note" or ""."""

    label: str
    kind: str = ""


CUT = Badge("cut by the token limit", "bad")


class Text(NamedTuple):
    """A text under its heading. `fixed`: never Markdown (a judge's tokens, choices)."""

    heading: str
    text: str
    fixed: bool = False


@dataclass(frozen=True, slots=True)
class Card:
    """Texts that belong together: one model's answer, one candidate with its judgments.

    `anchor`: what an address may point to with "#".
    """

    heading: str
    badges: tuple[Badge, ...] = ()
    texts: tuple[Text, ...] = ()
    links: tuple[Link, ...] = ()
    anchor: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """Cards side by side under a heading, with an optional note."""

    heading: str
    cards: tuple[Card, ...] = ()
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Detail:
    """A page about one prompt, item or row."""

    title: str
    crumbs: tuple[Link, ...]
    parts: tuple[Part, ...]
    facts: tuple[tuple[str, str], ...] = ()
    links: tuple[Link, ...] = ()


class Table(NamedTuple):
    """Rows of texts and links under columns. `note`: why there are none."""

    heading: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | Link, ...], ...]
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Tables:
    """A page of tables: a run, an iteration."""

    title: str
    crumbs: tuple[Link, ...]
    tables: tuple[Table, ...]
    facts: tuple[tuple[str, str], ...] = ()
    note: str | None = None


class Select(NamedTuple):
    """A filter as a drop-down list: query name, label, values with their labels, chosen value."""

    name: str
    label: str
    options: tuple[tuple[str, str], ...]
    chosen: str


class Query(NamedTuple):
    """What an address asks for, checked: which object, filters, order, search words, page from 1.

    Names that a view does not take (see `View`) have the values below.
    """

    k: int = 0
    task: str = ""
    key: str = ""
    artifact: str = ""
    address: str = ""
    outcome: str = ""
    show: str = ""
    order: str = ""
    model: str = ""
    only: str = ""
    q: str = ""
    page: int = 1


class Line(NamedTuple):
    """A row of a list: the text that links to its page, and the other columns."""

    label: str
    href: str
    cells: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of a list. `total` counts all rows that pass the filters.

    `search`: the words searched for ("" for none), None where there is no search. `hidden`: parts
    of the address that the filters keep.
    """

    title: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    total: int
    page: int
    crumbs: tuple[Link, ...] = (RUN,)
    filters: tuple[Select, ...] = ()
    search: str | None = None
    hidden: tuple[tuple[str, str], ...] = ()
    note: str | None = None

    @property
    def pages(self) -> int:
        """How many pages the list has, at least one."""
        return max(1, -(-self.total // PER_PAGE))


Page = Tables | Listing | Detail


def link(path: str, /, **query: str | int | None) -> str:
    """Return the address of a page; parts of the query that are None or "" are left out."""
    kept = {name: value for name, value in query.items() if value not in (None, "")}
    tail = "?" + urlencode(kept, errors="replace") if kept else ""
    return quote(path, safe="/-") + tail


def row_link(ref: Ref, key: str, label: str = "All fields of this row") -> Link:
    """Return a link to the page that shows every field of one row."""
    return Link(label, link("/row", artifact=str(ref), key=key))


def artifact_link(ref: Ref) -> str:
    """Return the address of the page that lists an artifact's rows."""
    return link("/artifact", address=str(ref))


def excerpt(text: str) -> str:
    """Return the beginning of a text on one line."""
    line = " ".join(text[: 4 * _LONGEST].split())
    if not line:
        return "…" if text.strip() else "(whitespace only)" if text else "(empty)"
    whole = len(line) <= _LONGEST and len(text) <= 4 * _LONGEST
    return line if whole else line[: _LONGEST - 1].rstrip() + "…"


def number(value: float | None) -> str:
    """Return a number with at most two decimals, a dash for None."""
    if value is None:
        return NONE
    return f"{value:.2f}".rstrip("0").rstrip(".") if value % 1 else f"{value:.0f}"


def score_or_reason(score: float | None, unparsed: str | None) -> str:
    """Return a judge's score, or why its reply has none."""
    return number(score) if score is not None else f"none: {spaced(str(unparsed))}"


def spaced(name: str) -> str:
    """Return a name from the data (an outcome, a count) with spaces for underscores."""
    return name.replace("_", " ")


def field_text(value: Any) -> str:
    """Return a field of a row as text: JSON unless it is text already."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)


def select(name: str, label: str, options: Mapping[str, str], chosen: str) -> Select:
    """Return a filter with these values; the first is what an empty query means."""
    return Select(name, label, tuple(options.items()), chosen or next(iter(options)))


def outcome_select(label: str, counts: Mapping[str, int], chosen: str) -> Select:
    """Return a filter by outcome, each with its number of rows."""
    shown = dict(counts) if not chosen else {**counts, chosen: counts.get(chosen, 0)}
    options = {outcome: f"{spaced(outcome)} ({count:,})" for outcome, count in shown.items()}
    everything = f"all ({sum(counts.values()):,})"
    return select("outcome", label, {"": everything} | options, chosen)


def model_select(label: str, every: str, names: Sequence[str], chosen: str) -> Select:
    """Return a filter by model or pair of models; `every` is the label for all of them."""
    return select("model", label, {"": every} | {name: name for name in names}, chosen)


def offset(page: int) -> int:
    """Return how many rows come before a page."""
    return (page - 1) * PER_PAGE


def on_page(rows: Sequence[T], page: int) -> Sequence[T]:
    """Return the rows of a page."""
    return rows[offset(page) : page * PER_PAGE]


def text_part(heading: str, text: str) -> Part:
    """Return a part that holds one text."""
    return Part(heading, (Card("", (), (Text("", text),)),))


def finish_badges(finish: str) -> tuple[Badge, ...]:
    """Return what kept a generated text from ending; nothing if it ended by itself."""
    if finish == "stop":
        return ()
    return (CUT if finish == "length" else Badge(spaced(finish), "bad"),)


def answer_card(model: str, row: Generation, ref: Ref) -> Card:
    """Return a model's answer to a benchmark's prompt."""
    badges = (Badge(f"{len(row.text):,} characters"), *finish_badges(row.finish))
    return Card(model, badges, answer_texts("", row), (row_link(ref, row.key),))


def answer_texts(heading: str, row: Candidate | Generation) -> tuple[Text, ...]:
    """Return an answer's text, and the thought before it if there was one."""
    thought = Text("Thought, no part of the answer", row.thought)
    return (Text(heading, row.text), *((thought,) if row.thought else ()))


def judge_text(judge: str, row: Judgment) -> Text:
    """Return a judge's reply under its score, or under why it has none."""
    reason = "" if row.unparsed == "no_score" else f" ({spaced(str(row.unparsed))})"
    outcome = f"score {number(row.score)}" if row.score is not None else f"no score{reason}"
    return Text(f"{judge}, reply {row.draw + 1}: {outcome}", row.reply)
