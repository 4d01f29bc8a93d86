"""MT-Bench: eight categories, overall, turns, and the paper's two groups (Tables 2 and 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.document import Table, TableRow, number
from reports.published import comparable
from reports.tables.beside import Beside
from reports.tables.cells import cell_of, counted, failures_since, label, listed, models_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reports.results import RunResults

COLUMNS = {
    "category/writing": "writing",
    "category/roleplay": "roleplay",
    "category/reasoning": "reasoning",
    "category/math": "math",
    "category/coding": "coding",
    "category/extraction": "extraction",
    "category/stem": "STEM",
    "category/humanities": "humanities",
    "overall": "overall",
    "turn_1": "turn 1",
    "turn_2": "turn 2",
    "math_coding_reasoning": "math, coding, reasoning",
    "rest": "rest",
}
"""Scores' keys and their columns, in the paper's order."""


def table(results: RunResults) -> Table | None:
    """Return a row per model, in points from 1 to 10; None if nobody asks and there are none."""
    models = models_of(results, "mt_bench")
    if not models:
        return None
    beside = Beside(results, "mt_bench", models)
    rows = tuple(
        TableRow(
            label(model),
            tuple(
                cell_of(results, f"{model}/mt_bench", key, published=beside.published(model, key))
                for key in COLUMNS
            ),
        )
        for model in models
    )
    return Table(
        key="mt_bench",
        title="MT-Bench (points from 1 to 10)",
        head="model",
        columns=tuple(COLUMNS.values()),
        rows=rows,
        origin="Tables 2 and 10",
        notes=(
            "Means over single judgments of turns, as FastChat's; judgments without a readable "
            "grade are missing. Both turns of a question are one observation for the intervals.",
            f"Judge: {listed(comparable.judges_named(results, 'mt_bench'))}.",
            *_judging(results, models),
            *beside.notes,
            *failures_since(results, [(model, f"{model}/mt_bench") for model in models]),
        ),
    )


def _judging(results: RunResults, models: tuple[str, ...]) -> Iterator[str]:
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
        if (turn := detail.get("turn_sd")) is not None:
            means = detail.get("overall_sd")
            between = f", of the overall score {number(means, 3)}" if means is not None else ""
            yield (
                f"{label(model)}: standard deviation between the judge's repeated grades of one "
                f"turn {number(turn, 3)}{between}."
            )
