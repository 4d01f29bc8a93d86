"""AlpacaEval 2.0: raw and length-controlled win rate, answer length (Table 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.completions import read_completion
from core.records import DRAW, Annotation, preferred
from core.stages import Stage, evaluation_ref
from reports.document import Cell, Figure, Item, Published, RowGroup, Table, TableRow
from reports.formats.plotting import COLOURS, INK, MARKERS, Series, are_iterations, shown_name
from reports.published import comparable, condition_differences
from reports.published.comparable import PublishedNumbers
from reports.published.published import PAPER, SIZES, rows_of
from reports.sections.cells import (
    EMPTY,
    Column,
    cells_of,
    failures_since,
    label,
    listed,
    models_of,
    noise_note,
    titles,
)
from reports.sections.drawing import draw_columns, drawn_figure, point_of, sentences
from reports.sections.items import excerpt, group, points, text_or_note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes

    from core.reader import RunReader

_OFFICIAL = "length_controlled_v1"
_VARIANTS = {
    _OFFICIAL: (
        "AlpacaEval's own fit, with the instructions' difficulties; the intervals are of refits "
        "that keep its penalty"
    ),
    "length_only": "a fit on answer length alone, which no leaderboard uses",
}
_CONTROLLED = "length_controlled_win_rate"
_COLUMNS = {
    "win_rate": Column("win rate"),
    _CONTROLLED: Column("length-controlled win rate"),
    "avg_length": Column("mean length (characters)", 0),
}
_OTHER_SYSTEMS = (
    "Published rows: the paper's Table 1 (the leaderboard of 2024-01-17); length-controlled: "
    "AlpacaEval's leaderboard.",
)
_KINDS = (
    ("win_rate", Series("raw", COLOURS[3], MARKERS[2])),
    (_CONTROLLED, Series("length-controlled", COLOURS[4], MARKERS[3])),
)
_CHANCE = 50.0
_FIGURE_NOTE = (
    "Lines are 95 % intervals. At the dashed line a model is preferred as often as the reference. "
    "In brackets: annotations without a preference, which are left out."
)
_FIRST, _SECOND = "m", "M"  # the annotator's names for the answer shown first and second
_SAME = 1e-3


def table(results: RunReader) -> Table | None:
    """Return a row per model, and other systems' published rows if comparable.

    None if the benchmark is neither configured nor scored.
    """
    models = models_of(results, "alpaca_eval")
    if not models:
        return None
    beside = PublishedNumbers(results, "alpaca_eval", models)
    ours = tuple(TableRow(label(model), _cells(results, model, beside)) for model in models)
    measured = any(cell.value is not None for row in ours for cell in row.cells)
    refused = comparable.leaderboard_reasons(results)
    others = tuple(_published_rows(results, beside)) if measured and not refused else ()
    return Table(
        key="alpaca_eval",
        title="AlpacaEval 2.0: win rate against the reference (%), and mean answer length",
        head="model",
        columns=titles(_COLUMNS),
        rows=ours + others,
        origin="Table 1",
        notes=(
            "Comparisons without a preference are missing and excluded from n; they are not "
            "losses.",
            *_who_judged(results),
            *_masses(results, models),
            noise_note(None, "The judge's"),
            *_variants(results, models),
            *_incomplete(results, models, beside),
            *(_OTHER_SYSTEMS if others else ()),
            *comparable.note(tuple(dict.fromkeys([*beside.reasons, *refused]))),
            *failures_since(results, [(model, f"{model}/alpaca_eval") for model in models]),
        ),
    )


def _cells(results: RunReader, model: str, beside: PublishedNumbers) -> tuple[Cell, ...]:
    address = f"{model}/alpaca_eval"
    lc = results.scores(address).get(_CONTROLLED)
    is_official = False
    if lc is not None:
        detail = lc.detail or {}
        # A published file that lacks rows is scored by row, as on the leaderboard.
        by_row = "by_row" in detail and detail["by_row"] == lc.value
        whole = lc.n + lc.missing >= SIZES.alpaca_eval_prompts
        is_official = detail.get("variant") == _OFFICIAL and (whole or by_row)

    def published(key: str) -> Published | None:
        return beside.published(model, key) if key != _CONTROLLED or is_official else None

    return cells_of(results, address, _COLUMNS, published)


def _published_rows(results: RunReader, beside: PublishedNumbers) -> Iterator[TableRow]:
    """Yield the paper's models, unless shown in the cells, and the leaderboard's others."""
    if beside.own or results.only_imported:
        for model, value in rows_of("alpaca_eval", "win_rate").items():
            name = f"Self-Rewarding 70B {model} (paper)"
            yield TableRow(name, (Cell(value=value), EMPTY, EMPTY), kind="published")
    measured = {PAPER.leaderboard_names.get(name) for name in beside.imported_names}
    recorded = rows_of("alpaca_eval", _CONTROLLED, "recorded")
    by_title = {PAPER.leaderboard_names[name]: lc for name, lc in recorded.items()}
    for title, value in rows_of("alpaca_eval", "win_rate", "leaderboard").items():
        if title not in measured:
            controlled = Cell(value=by_title[title]) if title in by_title else EMPTY
            yield TableRow(title, (Cell(value=value), controlled, EMPTY), kind="published")


def _who_judged(results: RunReader) -> Iterator[str]:
    files = [comparable.imported(results, f"{model}/alpaca_eval") for model in results.models]
    references = [str(facts.get("reference")) for facts in files if facts is not None]
    if condition_differences.judged(results, "alpaca_eval") or not references:
        references += condition_differences.references(results)
    judges = listed(comparable.judges_named(results, "alpaca_eval"))
    yield f"Judge: {judges}; reference: {listed(tuple(dict.fromkeys(references)))}."
    yield from comparable.judge_notes(condition_differences.judged(results, "alpaca_eval"))


def _masses(results: RunReader, models: tuple[str, ...]) -> Iterator[str]:
    """Yield how probable the tokens were that preferences are read from."""
    found = [(label(m), results.scores(f"{m}/alpaca_eval").get("verdict_mass")) for m in models]
    shown = [f"{name} {100 * s.value:.1f} %" for name, s in found if s and s.value is not None]
    if shown:
        yield (
            f"Mean probability of the verdict's tokens: {', '.join(shown)}. A reply where it is "
            "below 50 % is missing (no_verdict_token)."
        )


def _variants(results: RunReader, models: tuple[str, ...]) -> Iterator[str]:
    """Yield the variant of the length-controlled fit, and its remarks."""
    by_variant: dict[str, list[str]] = {}
    remarks = []
    for model in models:
        score = results.scores(f"{model}/alpaca_eval").get(_CONTROLLED)
        if score is None or score.value is None or not score.detail:
            continue
        by_variant.setdefault(str(score.detail.get("variant")), []).append(label(model))
        if wording := score.detail.get("note"):
            remarks.append(f"{label(model)}, length control: {wording}.")
    for variant, names in by_variant.items():
        what = f" ({_VARIANTS[variant]})" if variant in _VARIANTS else ""
        yield f"Length control of {listed(names)}: variant {variant}{what}."
    yield from remarks


def _incomplete(
    results: RunReader, models: tuple[str, ...], beside: PublishedNumbers
) -> Iterator[str]:
    """Yield which imported files lack prompts."""
    for model in models:
        score = results.scores(f"{model}/alpaca_eval").get("win_rate")
        if score is None or not beside.is_imported(model):
            continue
        count = score.n + score.missing
        if count >= SIZES.alpaca_eval_prompts:
            continue
        yield f"{model}: the file has {count} of {SIZES.alpaca_eval_prompts} prompts."


def figure(results: RunReader) -> Figure | None:
    """Return both win rates with intervals across models; None without any."""
    found = {model: results.scores(f"{model}/alpaca_eval") for model in results.models}
    models = [m for m, scores in found.items() if any(point_of(scores.get(k)) for k, _ in _KINDS)]
    if not models:
        return None
    drawn = [
        (series, [point_of(found[model].get(key)) for model in models]) for key, series in _KINDS
    ]
    names = [shown_name(model) for model in models]
    raw = [found[model].get("win_rate") for model in models]
    counts = [
        "n = 0" if s is None else f"n = {s.n}" + (f" (+ {s.missing})" if s.missing else "")
        for s in raw
    ]

    def draw(axes: Axes) -> None:
        draw_columns(axes, names, drawn, below=counts, joined=are_iterations(models))
        axes.axhline(_CHANCE, color=INK, lw=0.8, ls=(0, (4, 3)), alpha=0.6)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("win rate, %")

    return drawn_figure(
        "alpaca_eval",
        "AlpacaEval 2.0: win rate against the reference",
        draw,
        sentences(names, drawn, " win rate in %"),
        height=2.9,
        origin="Table 1",
        notes=(_FIGURE_NOTE,),
    )


def rows(results: RunReader, model: str, most: int) -> RowGroup | None:
    """Return a model's AlpacaEval comparisons; None without any."""
    return group(
        results,
        evaluation_ref(f"{model}/alpaca_eval", Stage.ANNOTATIONS),
        f"AlpacaEval, {shown_name(model)}",
        ("instruction", "preference (1 to 2)", "verdict"),
        _annotated,
        most=most,
    )


def _annotated(row: Annotation) -> Item:
    completion = "(not asked)"
    if row.raw_completion:
        read = read_completion(row.raw_completion)
        completion = str(read._replace(text=text_or_note(read.text)))
    parts = [
        ("Instruction", row.instruction),
        (f"{row.generator_2}'s answer", text_or_note(row.output_2)),
        (f"The reference's answer ({row.generator_1})", text_or_note(row.output_1)),
        ("Presentation order", _presentation(row)),
        ("The judge's reply", completion),
    ]
    if row.missing is not None:
        parts.append(("Why there is no preference", row.missing))
    missing = f"missing: {row.missing}"
    verdict = missing if row.preference is None else preferred(row.preference)
    cells = (excerpt(row.instruction), points(row.preference), verdict)
    return Item(row.key, cells, tuple(parts))


def _presentation(row: Annotation) -> str:
    """Return which answer the judge saw first, if the recorded completion shows it.

    The package draws the order from a seed and does not record it, but turns the preference round
    where the order was: comparing it with the judge's own probabilities shows whether it was.
    """
    told = "The order is drawn from a seed; the preference is the model's in either order."
    if not row.raw_completion:
        return "The judge was not called: " + (
            "the answers are equal." if not row.missing else row.missing
        )
    probabilities = dict(read_completion(row.raw_completion).first_token)
    first, second = probabilities.get(_FIRST, 0.0), probabilities.get(_SECOND, 0.0)
    if row.preference is None or not first + second:
        return told
    as_shown = 1 + second / (first + second)
    if abs(as_shown - DRAW) < _SAME:
        return told
    for preference, shown in ((as_shown, "reference's"), (3 - as_shown, "model's")):
        if abs(row.preference - preference) < _SAME:
            return f'The {shown} answer was shown first, as "m", the other as "M". {told}'
    return told
