"""How much each model was trained on: seed data, prompts, candidates, preference pairs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from core.benchmarks import FIRST_FEEDBACK_ITERATION
from core.stages import Ref, Stage
from reports.document import Cell, Table, TableRow
from reports.published.published import EFT_EVALUATION_EXAMPLES, EFT_EXAMPLES, IFT_EXAMPLES, PAIRS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.store import Manifest
    from reports.document import Published
    from reports.results import RunResults

_SAMPLE = "sample"
_SIZES = (
    "The paper's counts stand beside ours to show the scale: they are sizes, not results, and hold "
    "for Llama 2 70B and Open Assistant's data."
)
_NOT_BESIDE = (
    "Published counts are not set beside these: the seed data is the packaged sample, written for "
    "this project."
)


def table(results: RunResults) -> Table | None:
    """Return a row per kind of data and iteration; None for a folder of imported results."""
    if results.config is None:
        return None
    rows = tuple(_rows(results, results.config.iterations))
    sample = results.config.ift.source == _SAMPLE
    return Table(
        key="training_data",
        title="Training data (rows)",
        head="data",
        columns=("count",),
        rows=tuple(map(_alone, rows)) if sample else rows,
        origin="section 3.1",
        notes=(_NOT_BESIDE if sample else _SIZES,),
    )


def _alone(row: TableRow) -> TableRow:
    """Return a row without the paper's count."""
    return replace(row, cells=tuple(replace(cell, published=None) for cell in row.cells))


def _rows(results: RunResults, iterations: int) -> Iterator[TableRow]:
    yield _row("IFT examples", _rows_of(results, Ref(1, Stage.IFT), IFT_EXAMPLES))
    yield _row("EFT examples (training)", _rows_of(results, Ref(1, Stage.EFT), EFT_EXAMPLES))
    yield _row("EFT evaluation split (ranked replies)", _evaluation_split(results))
    last = max(iterations, *results.iterations, 1)
    for k in range(FIRST_FEEDBACK_ITERATION, last + 1):
        by = f"M{k - 1}"
        yield _row(
            f"prompts kept for M{k}", _count(results, Ref(k, Stage.PROMPTS), "kept", of_rows=True)
        )
        yield _row(f"candidates by {by}", _rows_of(results, Ref(k, Stage.CANDIDATES), None))
        pairs = _count(results, Ref(k, Stage.PAIRS), "pair", published=PAIRS.get(k))
        yield _row(f"preference pairs AIFT({by}), for M{k}", pairs)


def _row(label: str, cell: Cell) -> TableRow:
    return TableRow(label, (cell,))


def _rows_of(results: RunResults, ref: Ref, published: Published | None) -> Cell:
    manifest = _find(results, ref)
    if manifest is None:
        return Cell(reason="not made yet", digits=0, published=published)
    return Cell(value=manifest.rows or 0, digits=0, published=published)


def _count(
    results: RunResults,
    ref: Ref,
    name: str,
    *,
    published: Published | None = None,
    of_rows: bool = False,
) -> Cell:
    """Return one count of an artifact; `n` are all its rows, so that the others show."""
    manifest = _find(results, ref)
    if manifest is None:
        return Cell(reason="not made yet", digits=0, published=published)
    rows = "" if of_rows else f"pairs/iter{ref.iteration}"
    value = manifest.counts.get(name, 0)
    return Cell(value=value, digits=0, n=manifest.rows, published=published, rows=rows)


def _evaluation_split(results: RunResults) -> Cell:
    ref, published = Ref(1, Stage.RANKED), EFT_EVALUATION_EXAMPLES
    if not results.exists(ref):
        return Cell(reason="not made yet", digits=0, published=published)
    held_out = [prompt for prompt in results.rows(ref) if prompt.split == "eval"]
    replies = sum(len(prompt.replies) for prompt in held_out)
    return Cell(value=replies, digits=0, published=published)


def _find(results: RunResults, ref: Ref) -> Manifest | None:
    return results.manifest(ref) if results.exists(ref) else None
