"""AlpacaEval 2.0: raw and length-controlled win rate, answer length (Table 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.stages import Stage
from reports.document import Cell, Table, TableRow, number
from reports.published import comparable, departures
from reports.published.published import (
    ALPACA_EVAL,
    ALPACA_EVAL_PROMPTS,
    LEADERBOARD,
    LEADERBOARD_NAMES,
    LENGTH_CONTROLLED,
)
from reports.tables.beside import Beside
from reports.tables.cells import EMPTY, cell_of, failures_since, label, listed, models_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reports.results import RunResults

_OFFICIAL = "length_controlled_v1"
_VARIANTS = {
    _OFFICIAL: "AlpacaEval's own fit, with the instructions' difficulties",
    "length_only": "a fit on the answers' lengths alone, which no leaderboard has",
}
_CONTROLLED = "length_controlled_win_rate"


def table(results: RunResults) -> Table | None:
    """Return a row per model, and the published rows of other systems where they may stand.

    None if nobody asks for AlpacaEval and there are no scores of it.
    """
    models = models_of(results, "alpaca_eval")
    if not models:
        return None
    beside = Beside(results, "alpaca_eval", models)
    ours = tuple(TableRow(label(model), _cells(results, model, beside)) for model in models)
    measured = any(cell.value is not None for row in ours for cell in row.cells)
    others = tuple(_published_rows(results, beside)) if measured else ()
    return Table(
        key="alpaca_eval",
        title="AlpacaEval 2.0: win rate against the reference (%), and mean answer length",
        head="model",
        columns=("win rate", "length-controlled win rate", "mean length (characters)"),
        rows=ours + others,
        origin="Table 1",
        notes=(
            "Comparisons without a preference are missing and lower n; they are no losses.",
            *_who_judged(results),
            *_variants(results, models),
            *_incomplete(results, models, beside),
            *(_OTHER_SYSTEMS if others else ()),
            *beside.notes,
            *failures_since(results, [(model, f"{model}/alpaca_eval") for model in models]),
        ),
    )


_OTHER_SYSTEMS = (
    "Published rows: the paper's Table 1 (the leaderboard of 2024-01-17); length-controlled: "
    "AlpacaEval's leaderboard.",
)


def _cells(results: RunResults, model: str, beside: Beside) -> tuple[Cell, ...]:
    address = f"{model}/alpaca_eval"
    controlled = results.scores(address).get(_CONTROLLED)
    official = controlled is not None and (controlled.detail or {}).get("variant") == _OFFICIAL
    complete = controlled is not None and controlled.n + controlled.missing >= ALPACA_EVAL_PROMPTS
    lc_published = beside.published(model, _CONTROLLED) if official and complete else None
    return (
        cell_of(results, address, "win_rate", published=beside.published(model, "win_rate")),
        cell_of(results, address, _CONTROLLED, published=lc_published),
        cell_of(
            results,
            address,
            "avg_length",
            digits=0,
            published=beside.published(model, "avg_length"),
        ),
    )


def _published_rows(results: RunResults, beside: Beside) -> Iterator[TableRow]:
    """Yield the paper's models, unless they stand in the cells, and the leaderboard's others."""
    if comparable.leaderboard_obstacles(results):
        return
    if beside.own or results.config is None:
        for model, value in ALPACA_EVAL.items():
            name = f"Self-Rewarding 70B {model} (paper)"
            yield TableRow(name, (Cell(value=value), EMPTY, EMPTY), kind="published")
    measured = {LEADERBOARD_NAMES.get(name) for name in beside.imported_names}
    by_title = {LEADERBOARD_NAMES[name]: lc for name, lc in LENGTH_CONTROLLED.items()}
    for title, value in LEADERBOARD.items():
        if title not in measured:
            controlled = Cell(value=by_title[title]) if title in by_title else EMPTY
            yield TableRow(title, (Cell(value=value), controlled, EMPTY), kind="published")


def _who_judged(results: RunResults) -> Iterator[str]:
    references = []
    for model in results.models:
        facts = comparable.imported(results, f"{model}/alpaca_eval")
        if facts is not None:
            references.append(str(facts.get("reference")))
    if results.config is not None:
        made = departures.own(results, "alpaca_eval", Stage.ANNOTATIONS)
        section = results.config.evaluation.alpaca_eval
        settings = [str(m.key.config.get("evaluation.alpaca_eval.reference", "?")) for m in made]
        if settings or not references:
            references += map(departures.reference_name, settings or [section.reference])
    judges = listed(comparable.judges_named(results, "alpaca_eval"))
    yield f"Judge: {judges}; reference: {listed(tuple(dict.fromkeys(references)))}."


def _variants(results: RunResults, models: tuple[str, ...]) -> Iterator[str]:
    """Yield which fit stands behind the length-controlled numbers, and what it has to say."""
    by_variant: dict[str, list[str]] = {}
    remarks = []
    for model in models:
        score = results.scores(f"{model}/alpaca_eval").get(_CONTROLLED)
        if score is None or score.value is None or not score.detail:
            continue
        by_variant.setdefault(str(score.detail.get("variant")), []).append(label(model))
        if said := score.detail.get("note"):
            remarks.append(f"{label(model)}, length control: {said}.")
    for variant, names in by_variant.items():
        what = f" ({_VARIANTS[variant]})" if variant in _VARIANTS else ""
        yield f"Length control of {listed(names)}: variant {variant}{what}."
    yield from remarks


def _incomplete(results: RunResults, models: tuple[str, ...], beside: Beside) -> Iterator[str]:
    """Yield which imported files lack prompts, and what that did to their published number."""
    for model in models:
        score = results.scores(f"{model}/alpaca_eval").get("win_rate")
        if score is None or not beside.is_imported(model):
            continue
        count = score.n + score.missing
        if count >= ALPACA_EVAL_PROMPTS:
            continue
        theirs = beside.published(model, _CONTROLLED)
        shift = (
            " AlpacaEval's package then takes difficulties by row, which shifts them: its "
            f"length-controlled {number(theirs.value)} is not beside ours, which takes them by "
            "instruction."
            if theirs is not None
            else ""
        )
        yield f"{model}: the file has {count} of {ALPACA_EVAL_PROMPTS} prompts.{shift}"
