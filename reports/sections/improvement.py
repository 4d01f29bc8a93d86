"""Is M_k better than M_{k−1}? Paired tests of the claim that each iteration improves the model."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from core.benchmarks import BENCHMARKS, FIRST_FEEDBACK_ITERATION, Subject
from core.paired import LEAST_CLUSTERS, compare
from reports.collect import metrics_of
from reports.document import Cell, Table, TableRow
from reports.gate.compare import difference
from reports.sections.cells import (
    P_VALUE_DIGITS,
    P_VALUE_NOTE,
    cell_of,
    holm_note,
    seed_of,
    with_holm,
)
from reports.sections.nlp.alignment_tax import headline_items

if TYPE_CHECKING:
    from core.reader import RunReader
    from reports.scores import Metric

# The first headline of each benchmark whose score is a mean over a model's own items.
_MEASURES = {
    f"{facts.title}, {facts.headline.replace('_', ' ')}": (facts.name, facts.headline)
    for facts in BENCHMARKS.values()
    if facts.of == "model" and facts.headlines and facts.items
}
_LEVEL = 0.05
_P = 1  # the column of p-values
_COLUMNS = ("difference", "p", "Holm's p", "better?")


def table(results: RunReader) -> Table | None:
    """Return a row per step M_k − M_{k−1}, k ≥ 2, and benchmark that has both; None without any."""
    rows = [row for k in _steps(results) for row in _rows(results, k)]
    if not rows:
        return None
    found = with_holm(rows, _P)
    return Table(
        key="improvement",
        title="Is M_k better than M_{k−1}?",
        head="step and measure",
        columns=_COLUMNS,
        rows=tuple(_answered(row) for row in found),
        notes=(
            "On the same items: paired difference in percent (MT-Bench: points) with its 95 % "
            "interval; McNemar's exact test for "
            "items that are right or wrong, the sign test of wins and losses head to head, else "
            "sign flips over prompts or questions. NLP: mean over the tasks that both models have, "
            f"MMLU by subject. {P_VALUE_NOTE}",
            f"{holm_note(found, 'tests of this table')} Below {LEAST_CLUSTERS} items no "
            "difference can be shown.",
        ),
    )


def answers(results: RunReader) -> list[str]:
    """Return the table's answers, row by row: "yes", "no: worse", "not shown", "cannot be said"."""
    found = table(results)
    rows = found.rows if found is not None else ()
    return [row.cells[-1].text for row in rows if row.cells[-1].text is not None]


def _steps(results: RunReader) -> list[int]:
    """Return the k of which both M_k and M_{k−1} are evaluated or wanted."""
    numbers = {int(name[1:]) for name in results.models if name[:1] == "M" and name[1:].isdecimal()}
    return sorted(k for k in numbers if k >= FIRST_FEEDBACK_ITERATION and k - 1 in numbers)


def _rows(results: RunReader, k: int) -> list[TableRow]:
    new, old, seed = f"M{k}", f"M{k - 1}", seed_of(results)
    cells = {
        measure: difference(
            *(metric(results, f"{model}/{name}", key) for model in (old, new)), seed=seed
        )
        for measure, (name, key) in _MEASURES.items()
        if all(results.scores(f"{model}/{name}") for model in (new, old))
    }
    cells["NLP, mean of tasks, %"] = _nlp(results, new, old, seed)
    cells["head to head, net wins, %"] = _head_to_head(results, new, old)
    return [
        TableRow(f"{new} − {old}: {measure}", found)
        for measure, found in cells.items()
        if found[0].value is not None or found[0].reason is not None
    ]


def metric(results: RunReader, address: str, key: str) -> Metric | None:
    """Return a number of a benchmark with its items and conditions; None if there is none."""
    subject = Subject.parse(address)
    found = metrics_of(results, subject) if subject is not None else ()
    return next((metric for metric in found if metric.metric == key), None)


def _nlp(results: RunReader, new: str, old: str, seed: int) -> tuple[Cell, Cell]:
    """Compare over tasks: each item weighs so that the mean is that of the tasks."""
    ours: dict[str, float] = {}
    theirs: dict[str, float] = {}
    for task in results.parts("nlp"):
        a, b = (headline_items(results, f"{model}/nlp/{task}") for model in (new, old))
        shared = a.keys() & b.keys()
        subjects = Counter(item.rpartition("/")[0] for item in shared)
        for item in sorted(shared):
            weight = 1 / (len(subjects) * subjects[item.rpartition("/")[0]])
            ours[f"{task}:{item}"], theirs[f"{task}:{item}"] = weight * a[item], weight * b[item]
    tasks = len({item.partition(":")[0] for item in ours})
    if not tasks:
        return Cell(), Cell()
    # The mean over n items of n/tasks times these values is the mean of the tasks.
    scale = len(ours) / tasks
    ours, theirs = ({i: scale * v for i, v in each.items()} for each in (ours, theirs))
    most = max(1.0, *ours.values(), *theirs.values())
    found = compare(ours, theirs, scale=(0.0, most), seed=seed)
    low, high = found.interval or (None, None)
    return (
        Cell(found.difference, low=low, high=high, n=found.n),
        Cell(found.p_value, digits=P_VALUE_DIGITS, n=found.n_clusters),
    )


def _head_to_head(results: RunReader, new: str, old: str) -> tuple[Cell, Cell]:
    address = f"head_to_head/{new}-{old}"
    if not results.scores(address):
        return Cell(), Cell()
    net = cell_of(results, address, "net")
    return net, cell_of(results, address, "sign_test", digits=P_VALUE_DIGITS)


def _answered(row: TableRow) -> TableRow:
    """Add the answer, by the difference's sign and Holm's p in the last cell."""
    difference_cell, p_value, adjusted = row.cells
    if adjusted.value is None or difference_cell.value is None:
        return TableRow(row.label, (*row.cells, Cell()))
    answer = "not shown"
    if (p_value.n or 0) < LEAST_CLUSTERS:
        answer = "cannot be said"
    elif adjusted.value <= _LEVEL:
        answer = "yes" if difference_cell.value > 0 else "no: worse"
    return TableRow(row.label, (*row.cells, Cell(text=answer)))
