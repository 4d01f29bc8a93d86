"""One prompt with every model's answer, chosen by its key and not by what was answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.benchmarks import BENCHMARKS
from core.records import ANSWERED
from core.stages import Stage, evaluation_ref
from reports.document import Cell, Table, TableRow
from reports.sections.cells import EMPTY, label
from reports.sections.items import excerpt, key_order, text_or_note
from reports.sections.outcome.subjects import FOLLOWED, made_models

if TYPE_CHECKING:
    from core.reader import RunReader
    from core.records import Generation, ItemScore

_BENCHMARKS = ("ifeval", "head_to_head", "alpaca_eval", "mt_bench")  # in the order of preference
_LONGEST = 600  # characters of a text; the rows behind the numbers have all of it
_FEWEST_MODELS = 2


def table(results: RunReader) -> Table | None:
    """Return the answers to the first prompt of a benchmark that every model has answered.

    None if there is no such prompt, or fewer than two models.
    """
    models = made_models(results)
    if len(models) < _FEWEST_MODELS:
        return None
    for benchmark in _BENCHMARKS:
        answers = [_answers(results, model, benchmark) for model in models]
        shared = set.intersection(*(set(found) for found in answers))
        if shared:
            key = min(shared, key=key_order)
            return _table(
                results, benchmark, dict(zip(models, (a[key] for a in answers), strict=True))
            )
    return None


def _answers(results: RunReader, model: str, benchmark: str) -> dict[str, Generation]:
    """Return a model's answers to the first turn, by prompt."""
    rows: list[Generation] = results.rows(evaluation_ref(f"{model}/{benchmark}", Stage.ANSWERS))
    return {row.prompt_key: row for row in rows if row.turn == 1 and row.finish in ANSWERED}


def _table(results: RunReader, benchmark: str, answers: dict[str, Generation]) -> Table:
    checked = benchmark == FOLLOWED.benchmark
    first = next(iter(answers.values()))
    blank = (EMPTY,) if checked else ()
    rows = [TableRow("the prompt", (Cell(text=excerpt(first.prompt, _LONGEST)), *blank))]
    for model, answer in answers.items():
        verdict = (_followed(results, model, answer.prompt_key),) if checked else ()
        text = Cell(text=excerpt(text_or_note(answer.text), _LONGEST))
        rows.append(TableRow(label(model), (text, *verdict)))
    name = BENCHMARKS[benchmark].title
    return Table(
        "outcome_example",
        "An example: one prompt, every model's answer",
        "model",
        ("text", *(("followed",) if checked else ())),
        tuple(rows),
        notes=(
            f"{name}: the first prompt, by its key ({first.prompt_key}), that every model "
            f"answered. Texts longer than {_LONGEST} characters are shortened.",
        ),
    )


def _followed(results: RunReader, model: str, key: str) -> Cell:
    """Return whether an answer follows every instruction of its prompt."""
    items: list[ItemScore] = results.rows(
        evaluation_ref(f"{model}/{FOLLOWED.benchmark}", Stage.ITEMS)
    )
    values = {item.key: item.metrics.get(FOLLOWED.key) for item in items}
    if (value := values.get(key)) is None:
        return Cell(reason="not checked")
    return Cell(text="yes" if value else "no")
