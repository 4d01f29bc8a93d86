"""MT-Bench: categories, overall score, turns, the paper's two groups (Tables 2 and 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.stages import Stage, evaluation_ref
from reports.document import Figure, Item, RowGroup, Table, number
from reports.formats.plotting import series_of, shown_name
from reports.published.comparable import PublishedNumbers, judge_notes, judges_named
from reports.published.condition_differences import judged
from reports.sections.cells import (
    Column,
    counted,
    label,
    listed,
    model_table,
    models_of,
    noise_note,
)
from reports.sections.drawing import draw_rows, drawn_figure, height_of, point_of, sentences
from reports.sections.items import group, points, text_or_note
from reports.sections.section import of_models, section_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes

    from core.reader import RunReader
    from core.records import TurnJudgment

_CATEGORIES = (
    "writing", "roleplay", "reasoning", "math", "coding", "extraction", "stem", "humanities",
)  # fmt: skip
COLUMNS = {
    **{f"category/{name}": Column("STEM" if name == "stem" else name) for name in _CATEGORIES},
    "overall": Column("overall"),
    "turn_1": Column("turn 1"),
    "turn_2": Column("turn 2"),
    "math_coding_reasoning": Column("math, coding, reasoning"),
    "rest": Column("rest"),
}
"""Scores' keys and their columns, in the paper's order."""
_PREFIX = "category/"
_OVERALL = "overall"
_LEAST, _MOST = 1, 10


def table(results: RunReader) -> Table | None:
    """Return a row per model, in points from 1 to 10; None if neither configured nor scored."""
    models = models_of(results, "mt_bench")
    beside = PublishedNumbers(results, "mt_bench", models)
    return model_table(
        results,
        "mt_bench",
        models,
        COLUMNS,
        beside.published,
        key="mt_bench",
        title="MT-Bench (points from 1 to 10)",
        origin="Tables 2 and 10",
        notes=(
            "Means over single judgments of turns, as in FastChat; judgments without a readable "
            "score are missing. Intervals treat both turns of a question as one observation.",
            f"Judge: {listed(judges_named(results, 'mt_bench'))}.",
            *judge_notes(judged(results, "mt_bench")),
            *_judging(results, models),
            *beside.notes,
        ),
    )


def _judging(results: RunReader, models: tuple[str, ...]) -> Iterator[str]:
    """Yield, for each model, why grades are missing and how far the judge repeats itself."""
    for model in models:
        overall = results.scores(f"{model}/mt_bench").get("overall")
        detail = (overall.detail or {}) if overall is not None else {}
        if overall is not None and (unparsed := detail.get("unparsed")):
            whole = overall.n + overall.missing
            reasons = counted(unparsed)
            yield f"{label(model)}: {overall.missing} of {whole} grades missing ({reasons})."
        if again := detail.get("judged_again"):
            yield f"{label(model)}: {again} judgments repeat a turn; all count."
        if (means := detail.get("overall_sd")) is not None:
            yield f"{label(model)}: the overall score deviates by {number(means, 3)} between draws."
        if overall is not None and overall.value is not None:
            noise = results.scores(f"{model}/mt_bench").get("judge_noise")
            yield noise_note(noise, f"{label(model)}: the judge's")


def figure(results: RunReader) -> Figure | None:
    """Return overall and category scores of each model; None without any."""
    found = {model: results.scores(f"{model}/mt_bench") for model in results.models}
    models = [m for m, scores in found.items() if any(map(point_of, scores.values()))]
    if not models:
        return None
    keys = [_OVERALL, *(key for key in COLUMNS if key.startswith(_PREFIX))]
    looks = series_of(results.models)
    drawn = [(looks[m], [point_of(found[m].get(key)) for key in keys]) for m in models]
    labels = [key.removeprefix(_PREFIX) for key in keys]
    notes = [
        "Mean over judgments that could be read; lines are 95 % intervals, in which the two turns "
        "of a question are one observation."
    ]
    overall = [(looks[m].name, found[m][_OVERALL]) for m in models if _OVERALL in found[m]]
    if unread := [f"{m} {s.missing} of {s.n + s.missing}" for m, s in overall if s.missing]:
        notes.append(f"Judgments without a score: {', '.join(unread)}.")

    def draw(axes: Axes) -> None:
        draw_rows(axes, labels, drawn)
        axes.set_xlim(_LEAST - 0.2, _MOST + 0.2)
        axes.set_xticks(range(_LEAST, _MOST + 1))
        axes.set_xlabel("score, 1 to 10")
        axes.get_yticklabels()[0].set_fontweight("bold")

    return drawn_figure(
        "mt_bench",
        "MT-Bench: score by category",
        draw,
        sentences(labels, drawn),
        height=height_of(len(labels), len(drawn)),
        origin="Tables 2 and 10",
        notes=tuple(notes),
    )


def rows(results: RunReader, model: str, most: int) -> RowGroup | None:
    """Return a model's MT-Bench grades by question, turn and draw; None without any."""
    return group(
        results,
        evaluation_ref(f"{model}/mt_bench", Stage.TURN_JUDGMENTS),
        f"MT-Bench, {shown_name(model)}",
        ("question", "turn", "draw", "category", "score"),
        _graded,
        most=most,
    )


def _graded(row: TurnJudgment) -> Item:
    score = points(row.score) if row.score is not None else f"no score: {row.unparsed}"
    cells = (str(row.question_id), str(row.turn), str(row.draw + 1), row.category, score)
    parts = (
        (f"What the judge was shown ({row.judge_prompt})", row.user_prompt),
        (f"The judge's reply ({row.judge})", text_or_note(row.reply)),
    )
    return Item(row.key, cells, parts)


SECTION = section_of(
    "mt_bench", "MT-Bench", figures=(figure,), tables=(table,), rows=of_models(rows)
)
