"""The paper's figures, each drawn from a run's artifacts; None where there is nothing to draw."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from reports.figures import (
    alpaca_eval,
    breakdown,
    data_distribution,
    head_to_head,
    human,
    lengths,
    mt_bench,
    nlp,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reports.document import Figure
    from reports.results import RunResults

# In the order of a report; the key is the figure's and its file's name.
FIGURES: Mapping[str, Callable[[RunResults], Figure | None]] = {
    "head_to_head": head_to_head.figure,
    "alpaca_eval": alpaca_eval.figure,
    "alpaca_eval_category": partial(breakdown.figure, kind="category"),
    "alpaca_eval_complexity": partial(breakdown.figure, kind="complexity"),
    "alpaca_eval_length": partial(breakdown.figure, kind="length"),
    "mt_bench": mt_bench.figure,
    "alignment_tax": nlp.figure,
    "human": human.figure,
    "answer_lengths": lengths.figure,
    "data_distribution": data_distribution.figure,
}
