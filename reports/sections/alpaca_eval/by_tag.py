"""The AlpacaEval win rate by kind of instruction (Figures 4 and 11, Table 6)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

from core.stages import Stage, evaluation_ref
from reports.document import Cell, Figure, Published, Table, TableRow
from reports.formats.plotting import series_of
from reports.published import comparable
from reports.published.published import PAPER
from reports.sections import drawing
from reports.sections.cells import asked_models, cell_of, label, models_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from core.reader import RunReader

Kind = Literal["category", "complexity", "length"]


class _Breakdown(NamedTuple):
    title: str
    head: str
    origin: str


_BREAKDOWNS: dict[Kind, _Breakdown] = {
    "category": _Breakdown("category", "category", "Figure 4"),
    "complexity": _Breakdown("complexity of the instruction", "complexity (1–10)", "Figure 11"),
    "length": _Breakdown("expected length of the answer", "expected length", "Figure 11"),
}
_UNTAGGED = "untagged"  # annotations whose tag could not be read; they come last
# The tagging prompt's answers, from short to long.
_LENGTHS = ("1 sentence", "1-3 sentences", "1 paragraph", "2 paragraphs", "3 or more paragraphs")
_ORDER = (*PAPER.categories, "1-2", "3-4", "5-6", "7-8", "9-10", *_LENGTHS, _UNTAGGED)
_TAGS = evaluation_ref("tags/alpaca_eval", Stage.TAGS)
_MOST_COLUMNS = 7


def table(results: RunReader, kind: Kind) -> Table | None:
    """Return a row per group and a column per model; None without tags that are there or wanted.

    Groups that no model has prompts in are left out. A table whose tags are not there yet has one
    row, which says why.
    """
    models = models_of(results, "alpaca_eval")
    prefix = f"win_rate/{kind}/"
    found = {
        key.removeprefix(prefix)
        for model in models
        for key in results.scores(f"{model}/alpaca_eval")
        if key.startswith(prefix)
    }
    groups = [group for group in _ORDER if group in found] + sorted(found - {*_ORDER})
    asked = (
        results.config is not None
        and asked_models(results, "alpaca_eval")
        and results.config.evaluation.alpaca_eval.tags
    )
    if not groups and not asked:
        return None
    title, head, origin = _BREAKDOWNS[kind]
    rows = [_row(results, kind, group, models) for group in groups]
    if not rows:
        reasons = [results.why_absent(f"{m}/alpaca_eval") for m in models]
        cells = [Cell(reason=reason or "not tagged yet") for reason in (None, *reasons)]
        rows = [TableRow("all", tuple(cells))]
    judge = results.manifest(_TAGS).facts.get("judge", "the judge") if results.exists(_TAGS) else ""
    by = f"Tagged by {judge}." if judge else "A judge tags the instructions."
    refused = comparable.leaderboard_reasons(results) if kind == "category" else ()
    return Table(
        key=f"alpaca_eval_by_{kind}",
        title=f"AlpacaEval win rate by {title} (%)",
        head=head,
        columns=("prompts", *map(label, models)),
        rows=tuple(rows),
        origin=origin,
        notes=(
            f"{by} Instructions whose tags could not be read are the group untagged, so that the "
            "groups add up to all prompts.",
            *comparable.note(refused),
        ),
    )


def _row(results: RunReader, kind: str, group: str, models: tuple[str, ...]) -> TableRow:
    key = f"win_rate/{kind}/{group}"
    found = [results.scores(f"{model}/alpaca_eval").get(key) for model in models]
    sizes = [score.n + score.missing for score in found if score is not None]
    size = PAPER.categories.get(group) if kind == "category" else None
    is_beside = size is not None and not comparable.leaderboard_reasons(results)
    published = Published(size, "Table 6") if size is not None and is_beside else None
    cells = [cell_of(results, f"{m}/alpaca_eval", key, digits=1) for m in models]
    return TableRow(group, (Cell(value=max(sizes), digits=0, published=published), *cells))


def figure(results: RunReader, kind: Kind) -> Figure | None:
    """Return the win rate of each group and model; None unless instructions were tagged."""
    prefix = f"win_rate/{kind}/"
    found = {model: results.scores(f"{model}/alpaca_eval") for model in results.models}
    models = [m for m, scores in found.items() if any(key.startswith(prefix) for key in scores)]
    keys = {key for m in models for key in found[m] if key.startswith(prefix)}
    groups = sorted((key.removeprefix(prefix) for key in keys), key=_place)
    if not groups:
        return None
    looks = series_of(results.models)
    drawn = [
        (looks[m], [drawing.point_of(found[m].get(prefix + group)) for group in groups])
        for m in models
    ]
    sizes = [drawing.span(points) for points in zip(*(points for _, points in drawn), strict=True)]
    title, head, origin = _BREAKDOWNS[kind]
    across = kind != "category" and len(groups) <= _MOST_COLUMNS

    def draw(axes: Axes) -> None:
        if across:
            drawing.draw_columns(axes, groups, drawn, below=[f"n = {size}" for size in sizes])
            axes.set_xlabel(head.partition(" (")[0], labelpad=14)
            axes.set_ylabel("win rate, %")
            axes.set_ylim(bottom=0)
        else:
            drawing.draw_rows(
                axes, [f"{g} ({n})" for g, n in zip(groups, sizes, strict=True)], drawn
            )
            axes.set_xlabel("win rate, %")
            axes.set_xlim(left=0)

    return drawing.drawn_figure(
        f"alpaca_eval_{kind}",
        f"AlpacaEval: win rate by {title}",
        draw,
        drawing.sentences(groups, drawn),
        height=2.9 if across else drawing.height_of(len(groups), len(drawn)),
        origin=origin,
        notes=("n: annotations behind each value. Lines are 95 % intervals.",),
    )


def _place(name: str) -> tuple[bool, int, str]:
    """Return what groups are sorted by: by name, lengths from short to long, untagged last."""
    rank = _LENGTHS.index(name) if name in _LENGTHS else len(_LENGTHS)
    return name == _UNTAGGED, rank, name


FIGURES = tuple(partial(figure, kind=kind) for kind in _BREAKDOWNS)
TABLES = tuple(partial(table, kind=kind) for kind in _BREAKDOWNS)
