"""The NLP benchmarks: one headline metric per task, and their average (Tables 3 and 9)."""

from __future__ import annotations

import math
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from core.intervals import average_interval
from core.stages import Stage, evaluation_ref
from reports.document import Cell, Item, RowGroup, Table, TableRow, number
from reports.formats.plotting import shown_name
from reports.published import comparable
from reports.published.comparable import PublishedNumbers
from reports.published.condition_differences import IN_LLAMA
from reports.sections.cells import PERCENT, asked_models, cell_of, failures_since, label, listed
from reports.sections.items import Part, group, text_or_note

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from core.reader import RunReader
    from core.records import ItemScore

TITLES = {
    "arc_easy": "ARC-e",
    "arc_challenge": "ARC-c",
    "hellaswag": "HellaSwag",
    "social_iqa": "SIQA",
    "piqa": "PIQA",
    "gsm8k_cot": "GSM8K",
    "mmlu": "MMLU",
    "openbookqa": "OBQA",
    "nq_open": "NQ",
}
"""Tasks as the paper calls them, in its order."""
MMLU = "mmlu"
MACRO = "acc_macro"
_OTHERWISE = ("acc_norm", "acc")  # of a task that is not in the paper


_LLAMA = " {} (LLaMA) {}; lm-eval's metric does not and is not comparable with the paper's number."
_WAYS = {
    "gsm8k_cot": " GSM8K is read after the words of the examples (strict, where a number needs a "
    'full stop after it: "The answer is 18" is read as 1); flexible is the last number.',
    MMLU: " MMLU micro is over all items, macro the mean over subjects (the paper's).",
    **{task: _LLAMA.format(TITLES[task], rule) for task, (_, rule) in IN_LLAMA.items()},
}


class Column(NamedTuple):
    """A column: a task and the metric it shows; some tasks have two."""

    task: str
    metric: str | None
    """None: no model has the task, so its metric is not known here."""
    title: str
    averaged: bool = True
    is_papers: bool = True
    """Whether the paper's number is of this metric."""


_IN_TWO_WAYS = {
    MMLU: (
        Column(MMLU, "acc", "MMLU (micro)", averaged=False, is_papers=False),
        Column(MMLU, MACRO, "MMLU (macro)"),
    ),
    "gsm8k_cot": (
        Column("gsm8k_cot", "exact_match,strict-match", "GSM8K"),
        Column(
            "gsm8k_cot",
            "exact_match,flexible-extract",
            "GSM8K (flexible)",
            averaged=False,
            is_papers=False,
        ),
    ),
    **{
        task: (
            Column(task, metric, TITLES[task], is_papers=False),
            Column(task, IN_LLAMA[task][0], f"{TITLES[task]} (LLaMA)", averaged=False),
        )
        for task, metric in (("openbookqa", "acc_norm"), ("social_iqa", "acc"))
    },
}


def tasks_and_models(results: RunReader) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the tables' tasks, the paper's first, and the models that they have rows for.

    Both are those that the configuration wants, and others with scores.
    """
    asked = asked_models(results, "nlp")
    measured = {
        task: [m for m in results.models if results.scores(f"{m}/nlp/{task}")]
        for task in results.parts("nlp")
    }
    config = results.config
    wanted = config.evaluation.nlp.tasks if config is not None and asked else ()
    tasks = [task for task, models in measured.items() if models or task in wanted]
    ordered = (*(t for t in TITLES if t in tasks), *(t for t in tasks if t not in TITLES))
    expected = {*asked, *chain(*measured.values())}
    return ordered, tuple(model for model in results.models if model in expected)


def headline_metric(results: RunReader, task: str) -> str | None:
    """Return the key of the number that the paper shows, as the scores mark it; None without any.

    A task that is not in the paper has no mark: acc_norm, else acc, else its first metric.
    """
    for model in results.models:
        found = results.scores(f"{model}/nlp/{task}")
        marked = [key for key, score in found.items() if (score.detail or {}).get("headline")]
        names = [*marked, *(key for key in _OTHERWISE if key in found), *found]
        if names:
            return names[0]
    return None


def columns_of(results: RunReader, tasks: tuple[str, ...]) -> tuple[Column, ...]:
    """Return the columns: one per task, two where its items are scored in two ways."""
    found: list[Column] = []
    for task in tasks:
        metric = headline_metric(results, task)
        plain = (Column(task, metric, TITLES.get(task, task)),)
        both = _IN_TWO_WAYS.get(task, plain)
        found += both if metric is not None else (column._replace(metric=None) for column in both)
    return tuple(found)


def table(results: RunReader) -> Table | None:
    """Return a row per model and a column per task, in percent, and the average.

    None if the benchmarks are neither configured nor scored.
    """
    tasks, models = tasks_and_models(results)
    if not models or not tasks:
        return None
    columns = columns_of(results, tasks)
    beside = {task: PublishedNumbers(results, f"nlp/{task}", models) for task in tasks}
    cells = {
        model: [
            cell_of(
                results,
                f"{model}/nlp/{c.task}",
                c.metric or "",
                published=beside[c.task].published(model, c.task) if c.is_papers else None,
            )
            for c in columns
        ]
        for model in models
    }
    shared = _shared_by_all(cells, columns)
    rows = tuple(
        TableRow(label(model), (*cells[model], _average(results, model, columns, shared)))
        for model in models
    )
    places = [(f"{m}, {t}", f"{m}/nlp/{t}") for m in models for t in tasks]
    return Table(
        key="nlp",
        title="NLP benchmarks (%)",
        head="model",
        columns=(*(column.title for column in columns), "average"),
        rows=rows,
        origin="Tables 3 and 9",
        notes=(
            _metrics_note(results, columns),
            *_average_note(columns, shared),
            *comparable.notes_of(beside.values()),
            *failures_since(results, places),
        ),
    )


def _shared_by_all(
    cells: Mapping[str, list[Cell]], columns: tuple[Column, ...]
) -> tuple[Column, ...]:
    """Return the columns in which every model that has any number has one."""
    rows = [row for row in cells.values() if any(cell.value is not None for cell in row)]
    return tuple(
        column
        for at, column in enumerate(columns)
        if column.averaged and rows and all(row[at].value is not None for row in rows)
    )


def _average(
    results: RunReader, model: str, columns: tuple[Column, ...], shared: tuple[Column, ...]
) -> Cell:
    """Return the mean over the tasks that all models have; tasks are independent samples."""
    found = [
        results.scores(f"{model}/nlp/{column.task}").get(column.metric or "") for column in shared
    ]
    scores = [score for score in found if score is not None and score.value is not None]
    if not shared or len(scores) < len(shared):
        everything = [c for c in columns if results.scores(f"{model}/nlp/{c.task}")]
        reason = "no task has a number for all models" if everything else "no task has a number"
        return Cell(reason=reason)
    shares = [(score.value or 0.0) / PERCENT for score in scores]
    errors = [score.stderr / PERCENT for score in scores if score.stderr is not None]
    known = math.sqrt(math.fsum(error * error for error in errors)) / len(scores)
    sizes, error = [score.n for score in scores], known if len(errors) == len(scores) else None
    interval = average_interval(shares, sizes, error)
    low, high = interval.scaled(PERCENT) if interval is not None else (None, None)
    return Cell(
        value=math.fsum(score.value or 0.0 for score in scores) / len(scores),
        low=low,
        high=high,
        n=sum(score.n for score in scores),
        missing=sum(score.missing for score in scores),
    )


def _metrics_note(results: RunReader, columns: tuple[Column, ...]) -> str:
    by_metric: dict[str, list[str]] = {}
    for column in columns:
        if column.metric is not None and column.metric != MACRO:
            by_metric.setdefault(column.metric, []).append(TITLES.get(column.task, column.task))
    metrics = "; ".join(f"{name}: {listed(titles)}" for name, titles in by_metric.items())
    shots: dict[int, list[str]] = {}
    for column in columns:
        found = [results.scores(f"{model}/nlp/{column.task}") for model in results.models]
        details = [s.detail or {} for scores in found for s in scores.values()]
        for count in {d["shots"] for d in details if d.get("shots")}:
            shots.setdefault(count, []).append(TITLES.get(column.task, column.task))
    wording = "".join(
        f" {count} examples: {listed(list(dict.fromkeys(names)))};"
        for count, names in sorted(shots.items())
    )
    ways = [_WAYS[task] for task in _WAYS if any(column.task == task for column in columns)]
    return (
        f"lm-eval's metrics: {metrics or 'none measured yet'}.{wording.rstrip(';')}"
        f"{'.' if wording else ''}{''.join(ways)} The "
        "paper states neither metrics nor examples; these follow its Llama 2 row."
    )


def _average_note(columns: tuple[Column, ...], shared: tuple[Column, ...]) -> Iterator[str]:
    averaged = [column for column in columns if column.averaged]
    left = [column.title for column in averaged if column not in shared]
    if shared and left:
        yield (
            f"Average over the {len(shared)} of {len(averaged)} tasks that all models have; "
            f"without {listed(left)}."
        )
    elif shared:
        yield f"Average over {len(shared)} tasks, MMLU by its macro average."


def nlp_tasks(results: RunReader, model: str) -> list[str]:
    """Return the tasks a model has items of: in the configuration's order, then others by name."""
    names = results.parts("nlp")
    return [n for n in names if results.exists(evaluation_ref(f"{model}/nlp/{n}", Stage.ITEMS))]


def rows(results: RunReader, model: str, task: str, most: int) -> RowGroup | None:
    """Return a model's items of one task; None without any."""
    address = f"{model}/nlp/{task}"
    ref = evaluation_ref(address, Stage.ITEMS)
    rows: list[ItemScore] = results.rows(ref)
    metrics = tuple(dict.fromkeys(name for row in rows for name in row.metrics))
    return group(
        results,
        ref,
        f"{task}, {shown_name(model)}",
        ("item", *metrics),
        lambda row: _item(row, metrics),
        most=most,
        rows=rows,
    )


def _item(row: ItemScore, metrics: tuple[str, ...]) -> Item:
    named = {None: "missing", 0.0: "wrong", 1.0: "right"}
    values = (row.metrics.get(name) for name in metrics)
    cells = (named[value] if value in named else number(value or 0.0) for value in values)
    parts = _choices(row.detail) if "choices" in row.detail else _generated(row.detail)
    return Item(row.key, (f"{row.task} {row.item}", *cells), tuple(parts))


def _choices(detail: dict[str, Any]) -> list[Part]:
    """List the choices with their log-probabilities; the right one and the model's are marked."""
    marks = {
        "the right answer": detail.get("target"),
        "the most probable": detail.get("prediction"),
        "the most probable per character": detail.get("prediction_norm"),
        "the most probable as in LLaMA": detail.get("prediction_bayes"),
    }
    lines = []
    logprobs = detail.get("logprobs", [])
    for at, choice in enumerate(detail["choices"]):
        found = ", ".join(name for name, place in marks.items() if place == at)
        logprob = f" ({number(logprobs[at])})" if at < len(logprobs) else ""
        lines.append(f"{choice}{logprob}" + (f" ← {found}" if found else ""))
    return [("Choices with log-probabilities", "\n".join(lines))]


def _generated(detail: dict[str, Any]) -> list[Part]:
    parts = [("Generated text", text_or_note(str(detail.get("text", ""))))]
    predictions = detail.get("prediction")
    if isinstance(predictions, dict):
        parts += [
            (f"Read as ({name})", text_or_note(str(text))) for name, text in predictions.items()
        ]
    target = detail.get("target", "")
    wanted = "\n".join(map(str, target)) if isinstance(target, list | tuple) else str(target)
    return [*parts, ("Right answer", wanted)]
