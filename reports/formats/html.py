"""A report as one HTML file that needs no network: tables, figures, and the rows behind numbers.

The page is text that can be read without scripts. What scripts show on request (rows and manifests)
lies in inert tags as packed JSON and is unpacked when it is opened; see templates/panel.js.

Everything that is not our own markup is escaped. A Content-Security-Policy allows this page's own
script (by its hash) and nothing from elsewhere, so that even an error here could not fetch or run
what a model wrote.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from reports.document import Cell, Report, RowGroup, Table, TableRow, number, words

if TYPE_CHECKING:
    from jinja2 import Environment


_TEMPLATES = Path(__file__).parent / "templates"
# Plain functions that share one scope, which `render` puts around them.
_SCRIPTS = ("page.js", "elements.js", "packed.js", "chain.js", "rows.js", "row.js", "panel.js")
_LONGEST_REASON = 44  # characters that stand in a cell; longer reasons open on request
_COLUMNS_BESIDE = 4  # tables with more columns put the interval below the value, not beside it
_COLUMNS_BELOW = 8  # tables with more are set tighter on paper
# What HTML cannot hold, not even escaped: control characters, half characters, non-characters.
_NOT_HTML = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


class Block(NamedTuple):
    """Neighbouring lines of a table that are all measured, or all published."""

    kind: str
    rows: list[TableRow]


def render(report: Report) -> str:
    """Return the report as an HTML document; the same report gives the same text.

    Sections stand in the report's order. Figures are put in as they are: their SVG must come from
    reports/formats/plotting.py, which escapes the words in it.

    Raises:
        ValueError: a cell or gap names a row group that the report does not have.
    """
    from markupsafe import Markup

    _check_groups(report)
    parts = "\n".join(map(_file, _SCRIPTS))
    script = f'"use strict";\n(() => {{\n{parts}}})();\n'
    manifests = {
        key: {part.name: getattr(made, part.name) for part in fields(made)}
        for key, made in report.artifacts.items()
    }
    page = _environment().get_template("report.html.j2")
    return page.render(
        report=report,
        style=Markup(_file("report.css")),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own files
        policy=_policy(script),
        groups={key: _packed(_tree_of(group)) for key, group in report.groups.items()},
        artifacts=_packed(manifests),
    )


def _environment() -> Environment:
    """Return the templates' environment: everything is escaped, unknown names are errors."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    made = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_without_controls,
    )
    made.filters |= {
        "number": number,
        "blocks": _blocks,
        "shared_gap": _shared_gap,
        "numeric": _numeric,
        "density": _density,
        "interval": lambda cell: words(cell).interval,
        "counts": _counts,
        "shortened": _shortened,
        # Our ids are plain already, so that no two become one.
        "slug": lambda text: re.sub(r"[^\w-]", "-", text),
        "trusted": Markup,
    }
    return made


def _policy(script: str) -> str:
    """Return the Content-Security-Policy: this script, styles (figures have inline ones), no more.

    The browser hashes the text between the tags, so `script` must stand there unchanged.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _check_groups(report: Report) -> None:
    cells = ((t, r, cell.rows) for t in report.tables for r in t.rows for cell in r.cells)
    named = [(f"table {t.key!r}, row {r.label!r}: a cell", name) for t, r, name in cells]
    gaps = [(part.key, gap) for part in report.sections for gap in part.gaps]
    gaps += [(part.key, gap) for part in report.tables for gap in part.gaps]
    named += [(f"{key!r}: a gap", name) for key, gap in gaps for name in gap.rows]
    for where, name in named:
        if name and name not in report.groups:
            message = f"{where} names the row group {name!r}, which the report does not have"
            raise ValueError(message)


def _packed(tree: object) -> str:
    """Return JSON as gzip in base64: small, and without a character that could end its tag."""
    # Escaped to ASCII: half characters, which a model's tokens can leave, have no other encoding.
    text = json.dumps(tree, separators=(",", ":"), allow_nan=False, default=_plain)
    return base64.b64encode(gzip.compress(text.encode("ascii"), 6, mtime=0)).decode("ascii")


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a report cannot hold {type(value).__name__} as JSON")


def _tree_of(group: RowGroup) -> dict[str, object]:
    """Return a group as panel.js reads it; items as [key, cells, parts, links] to stay small."""
    items = [
        (one.key, one.cells, one.parts, [(x.label, x.group, x.row) for x in one.links])
        for one in group.items
    ]
    return {
        "title": group.title,
        "columns": group.columns,
        "total": group.total,
        "artifact": group.artifact,
        "items": items,
    }


def _blocks(rows: Sequence[TableRow]) -> list[Block]:
    return [Block(kind, list(found)) for kind, found in groupby(rows, key=lambda row: row.kind)]


def _shared_gap(row: TableRow) -> Cell | None:
    """Return the cell that stands for all of a row where nothing was measured for one reason."""
    first = row.cells[0] if row.cells else None
    is_gap = first is not None and first.value is None and first.text is None and first.reason
    alone = len(row.cells) == 1 or any(cell != first for cell in row.cells)
    return None if not is_gap or alone else first


def _numeric(table: Table, at: int) -> bool:
    """Whether a column's cells align as numbers: it has one, or has no words."""
    cells = [row.cells[at] for row in table.rows if at < len(row.cells)]
    return any(cell.value is not None for cell in cells) or all(not cell.text for cell in cells)


def _density(table: Table) -> str:
    """Return the classes by which the style sheet knows how many columns must fit."""
    if len(table.columns) <= _COLUMNS_BESIDE:
        return "beside"
    return "below" if len(table.columns) <= _COLUMNS_BELOW else "below crowded"


def _counts(cell: Cell) -> list[str]:
    """Return what the number rests on: ["n 805", "3 missing"]; empty if it does not say."""
    found = [] if cell.n is None else [f"n {cell.n:,}"]
    return [*found, f"{cell.missing:,} missing"] if cell.missing else found


def _shortened(reason: str) -> str:
    """Return a reason as it fits a cell, cut between words; unchanged if it is short."""
    reason = " ".join(reason.split())
    if len(reason) <= _LONGEST_REASON:
        return reason
    cut = reason[: _LONGEST_REASON - 1]
    return (cut.rpartition(" ")[0] or cut) + "…"


def _without_controls(value: object) -> object:
    """Replace what a page cannot hold; applied to every value that a template prints."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return _NOT_HTML.sub("\ufffd", value)
    return value


def _file(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")
