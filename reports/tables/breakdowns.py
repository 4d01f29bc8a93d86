"""The AlpacaEval win rate by kind of instruction (Figures 4 and 11, Table 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.stages import Stage, evaluation_ref
from reports.document import Cell, Published, Table, TableRow
from reports.published import comparable
from reports.published.published import CATEGORIES
from reports.tables.cells import cell_of, is_asked_for, label, models_of

if TYPE_CHECKING:
    from reports.results import RunResults

_TITLES = {
    "category": ("by category", "category", "Figure 4"),
    "complexity": ("by complexity of the instruction", "complexity (1–10)", "Figure 11"),
    "length": ("by expected length of the answer", "expected length", "Figure 11"),
}
_ORDER = (
    *CATEGORIES,
    "1-2", "3-4", "5-6", "7-8", "9-10",
    "1 sentence", "1-3 sentences", "1 paragraph", "2 paragraphs", "3 or more paragraphs",
    "untagged",
)  # fmt: skip
_TAGS = evaluation_ref("tags/alpaca_eval", Stage.TAGS)


def category(results: RunResults) -> Table | None:
    """Return the win rate by category, and how many prompts each has (Figure 4, Table 6)."""
    return _breakdown(results, "category")


def complexity(results: RunResults) -> Table | None:
    """Return the win rate by complexity of the instruction (Figure 11)."""
    return _breakdown(results, "complexity")


def length(results: RunResults) -> Table | None:
    """Return the win rate by expected length of the answer (Figure 11)."""
    return _breakdown(results, "length")


def _breakdown(results: RunResults, kind: str) -> Table | None:
    """Return a row per group and a column per model; None if nobody asks for tags.

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
        and is_asked_for(results, "alpaca_eval")
        and results.config.evaluation.alpaca_eval.tags
    )
    if not groups and not asked:
        return None
    title, head, origin = _TITLES[kind]
    rows = [_row(results, kind, group, models) for group in groups]
    return Table(
        key=f"alpaca_eval_by_{kind}",
        title=f"AlpacaEval win rate {title} (%)",
        head=head,
        columns=("prompts", *map(label, models)),
        rows=tuple(rows) or (_absent(results, models),),
        origin=origin,
        notes=(
            f"{_tagged_by(results)} Instructions whose tags could not be read are the group "
            "untagged, so that the groups add up to all prompts.",
            *_note(results, kind),
        ),
    )


def _row(results: RunResults, kind: str, group: str, models: tuple[str, ...]) -> TableRow:
    key = f"win_rate/{kind}/{group}"
    found = [results.scores(f"{model}/alpaca_eval").get(key) for model in models]
    sizes = [score.n + score.missing for score in found if score is not None]
    published = None
    if kind == "category" and group in CATEGORIES and not comparable.leaderboard_obstacles(results):
        published = Published(CATEGORIES[group], "Table 6")
    cells = [cell_of(results, f"{m}/alpaca_eval", key, digits=1) for m in models]
    return TableRow(group, (Cell(value=max(sizes), digits=0, published=published), *cells))


def _absent(results: RunResults, models: tuple[str, ...]) -> TableRow:
    reasons = [results.why_absent(f"{m}/alpaca_eval") or "not tagged yet" for m in models]
    return TableRow("all", (Cell(reason="not tagged yet"), *(Cell(reason=r) for r in reasons)))


def _tagged_by(results: RunResults) -> str:
    if not results.exists(_TAGS):
        return "A judge tags the instructions."
    return f"Tagged by {results.manifest(_TAGS).facts.get('judge', 'the judge')}."


def _note(results: RunResults, kind: str) -> tuple[str, ...]:
    if kind != "category":
        return ()
    return comparable.note(comparable.leaderboard_obstacles(results))
