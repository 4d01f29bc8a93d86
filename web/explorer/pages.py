"""A page as data: lists of rows with filters, and texts side by side. Templates only lay it out.

Addresses are relative to the explorer's root and made by `link` alone, so that whatever a key
holds, it stays one value of the query.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from core.stages import Ref

T = TypeVar("T")

PER_PAGE = 50
NONE = "–"
ANSWER_ORDERS = {"made": "as they were made", "longest": "longest answer first"}
_LONGEST = 160  # characters of a text in a table


class Link(NamedTuple):
    """Words that lead to another page."""

    label: str
    href: str


class Badge(NamedTuple):
    """A short fact beside a heading; `kind` is "good", "bad", "note" or ""."""

    label: str
    kind: str = ""


class Words(NamedTuple):
    """Somebody's text under its heading. `fixed`: never Markdown (a judge's tokens, choices)."""

    heading: str
    text: str
    fixed: bool = False


@dataclass(frozen=True, slots=True)
class Card:
    """What stands together: one model's answer, one candidate with its judgments.

    `anchor`: what an address may point to with "#".
    """

    heading: str
    badges: tuple[Badge, ...] = ()
    words: tuple[Words, ...] = ()
    links: tuple[Link, ...] = ()
    anchor: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """Cards side by side under a heading; `note` where something has to be said, or is missing."""

    heading: str
    cards: tuple[Card, ...] = ()
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Detail:
    """One prompt, item or row with everything about it."""

    title: str
    crumbs: tuple[Link, ...]
    parts: tuple[Part, ...]
    facts: tuple[tuple[str, str], ...] = ()
    links: tuple[Link, ...] = ()


class Table(NamedTuple):
    """Cells under columns; a cell that is a link leads somewhere. `note`: why it is empty."""

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


class Choice(NamedTuple):
    """A filter: the query's name, what it is called, its values with their labels, the chosen."""

    name: str
    label: str
    options: tuple[tuple[str, str], ...]
    chosen: str


class Asked(NamedTuple):
    """What a reader asked of a list: filters, the order, words to look for, the page from 1."""

    outcome: str = ""
    show: str = ""
    order: str = ""
    model: str = ""
    q: str = ""
    page: int = 1


class Line(NamedTuple):
    """A row of a list: the words that lead to it, and what stands beside them."""

    label: str
    href: str
    cells: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of a list. `total` counts all rows that the filters leave.

    `search`: the words looked for ("" for none), None where there is no search. `hidden`: parts of
    the address that the filters keep.
    """

    title: str
    crumbs: tuple[Link, ...]
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    total: int
    page: int
    choices: tuple[Choice, ...] = ()
    search: str | None = None
    hidden: tuple[tuple[str, str], ...] = ()
    note: str | None = None

    @property
    def pages(self) -> int:
        """How many pages the list has, at least one."""
        return max(1, -(-self.total // PER_PAGE))


def link(path: str, **query: str | int | None) -> str:
    """Return the address of a page; parts of the query that are None or "" are left out."""
    kept = {name: value for name, value in query.items() if value not in (None, "")}
    tail = "?" + urlencode(kept, errors="replace") if kept else ""
    return quote(path, safe="/-") + tail


def row_link(ref: Ref, key: str) -> str:
    """Return the address of the page that shows one row of an artifact as it is."""
    return link("/row", artifact=str(ref), key=key)


def artifact_link(ref: Ref) -> str:
    """Return the address of the page that lists an artifact's rows."""
    return link("/artifact", address=str(ref))


def excerpt(text: str) -> str:
    """Return the beginning of a text on one line."""
    line = " ".join(text[: 4 * _LONGEST].split())
    if not line:
        return "(nothing)" if not text.strip() else "…"
    whole = len(line) <= _LONGEST and len(text) <= 4 * _LONGEST
    return line if whole else line[: _LONGEST - 1].rstrip() + "…"


def points(value: float | None) -> str:
    """Return a number with at most two decimals, a dash for none."""
    if value is None:
        return NONE
    return f"{value:.2f}".rstrip("0").rstrip(".") if value % 1 else f"{value:.0f}"


def named(outcome: str) -> str:
    """Return an outcome's name as people read it."""
    return outcome.replace("_", " ")


def outcome_choice(
    name: str, label: str, counts: Mapping[str, int], chosen: str, say: Callable[[str], str] = named
) -> Choice:
    """Return a filter by outcome that says how many rows each has."""
    options = [(key, f"{say(key)} ({count:,})") for key, count in counts.items()]
    everything = ("", f"all ({sum(counts.values()):,})")
    if chosen and chosen not in counts:
        options.append((chosen, f"{say(chosen)} (0)"))
    return Choice(name, label, (everything, *options), chosen)


def choice(name: str, label: str, options: Mapping[str, str], chosen: str) -> Choice:
    """Return a filter with these values; the first is what an empty query means."""
    return Choice(name, label, tuple(options.items()), chosen or next(iter(options)))


def offset(page: int) -> int:
    """Return how many rows come before a page."""
    return (page - 1) * PER_PAGE


def on_page(rows: Sequence[T], page: int) -> Sequence[T]:
    """Return the rows of a page."""
    return rows[offset(page) : page * PER_PAGE]
