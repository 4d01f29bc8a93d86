"""How long the models' answers are, beside the mean response lengths that the paper gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.stages import Stage, evaluation_ref
from reports.document import Cell, Table, TableRow
from reports.published import comparable
from reports.published.published import of_paper
from reports.tables.cells import cell_of, is_asked_for, label, models_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reports.document import Published
    from reports.results import RunResults

_UNIT = ("The paper gives its lengths without a unit: characters, by inference.",)
_COLUMNS = ("AlpacaEval prompts", "AlpacaEval's reference")
_ANSWERED = ("finish_stop", "finish_length")


def table(results: RunResults) -> Table | None:
    """Return a row per model: mean characters of its head-to-head and its AlpacaEval answers.

    None if neither benchmark is asked for and there are no answers.
    """
    with_answers = [
        m
        for m in results.models
        if results.exists(evaluation_ref(f"{m}/head_to_head", Stage.ANSWERS))
    ]
    asked = results.config.evaluation.models if results.config is not None else ()
    expected = asked if is_asked_for(results, "head_to_head") else ()
    wanted = {*with_answers, *expected, *models_of(results, "alpaca_eval")}
    models = [model for model in results.models if model in wanted]
    if not models:
        return None
    refused = comparable.obstacles(results, "lengths") if results.config is not None else ()
    has_answers = bool(with_answers or expected)
    rows = []
    for model in models:
        first = (_head_to_head(results, model),) if has_answers else ()
        others = _of_alpaca(results, model, with_published=not refused)
        rows.append(TableRow(label(model), (*first, *others)))
    return Table(
        key="lengths",
        title="Mean length of answers (characters)",
        head="model",
        columns=(*(("head-to-head prompts",) if has_answers else ()), *_COLUMNS),
        rows=tuple(rows),
        notes=(
            "Prompts too long to be answered are missing.",
            *_cut(results, models),
            *(_UNIT if results.config is not None and not refused else ()),
            *comparable.note(refused),
        ),
    )


def _of_alpaca(results: RunResults, model: str, *, with_published: bool) -> tuple[Cell, ...]:
    address = f"{model}/alpaca_eval"
    own = with_published and comparable.imported(results, address) is None
    published: Published | None = None
    if own and results.config is not None:
        published = of_paper("alpaca_eval", model, "avg_length")
    return (
        cell_of(results, address, "avg_length", digits=0, published=published),
        cell_of(results, address, "avg_length_reference", digits=0),
    )


def _head_to_head(results: RunResults, model: str) -> Cell:
    ref = evaluation_ref(f"{model}/head_to_head", Stage.ANSWERS)
    if not results.exists(ref):
        return Cell(reason=results.why_absent(ref.address) or "no answers")
    manifest = results.manifest(ref)
    n = sum(manifest.counts.get(name, 0) for name in _ANSWERED)
    missing = (manifest.rows or 0) - n
    mean = manifest.facts.get("mean_characters")
    if mean is None:
        return Cell(reason="no prompt was answered", n=n, missing=missing)
    return Cell(value=float(mean), digits=0, n=n, missing=missing)


def _cut(results: RunResults, models: list[str]) -> Iterator[str]:
    """Yield how many answers the token limit cut: their length says nothing about the model."""
    for model in models:
        for benchmark, title in (("head_to_head", "head-to-head"), ("alpaca_eval", "AlpacaEval")):
            ref = evaluation_ref(f"{model}/{benchmark}", Stage.ANSWERS)
            if not results.exists(ref):
                continue
            manifest = results.manifest(ref)
            if cut := manifest.counts.get("finish_length", 0):
                yield (
                    f"{label(model)}: {cut} of {manifest.rows} {title} answers were cut by the "
                    "token limit."
                )
