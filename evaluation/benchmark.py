"""Interface of a benchmark of the suite: how to run it, its texts, what judging it may cost.

To add a benchmark: a line of facts in core/benchmarks.py and a settings section in
core/evaluation_config.py, a folder here whose benchmark.py defines a `Benchmark`, its entry in
`evaluation.suite.BENCHMARKS`, and a module in reports/sections/.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from core.benchmarks import Facts, Subject
    from core.evaluation_config import EvaluationSection
    from core.records import Row, Score
    from core.stages import Stage
    from core.store import Store
    from evaluation.run import EvalRun
    from judges.bounds import JudgeBound


class EvaluationItem(NamedTuple):
    """One item of an evaluation set: the set, the item's name in it, the text a model is shown."""

    benchmark: str
    item: str
    text: str


class Recorded(NamedTuple):
    """One model's results read from another program's file, to be imported as artifacts.

    `facts` name the source in the manifest, `scores` computes the scores, for which `sources` are
    the hashes of further files.
    """

    path: Path
    model: str
    benchmark: str
    stage: Stage
    rows: Sequence[Row]
    facts: dict[str, str]
    scores: Callable[[], list[Score]]
    sources: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One benchmark.

    `run`: makes the missing artifacts of a subject and returns its scores.
    `texts`: the items that training prompts are compared with, whatever the limits: a copy of an
        item outside today's limit is contamination too. None: the benchmark has no set of its own.
    `remote_sets`: the sets that would have to be downloaded and are therefore not in `texts`.
    `bound`: what one subject may ask of the external judge at most; None: nothing.
    `check`: reads the configured local files of the benchmark, before anything is made; raises what
        the benchmark would.
    `columns`: the scores in the tables of `srlm-eval run`; None: the headlines of `facts`.
    `export`: writes the finished results of models below a folder, in another program's format.
    """

    facts: Facts
    run: Callable[[EvalRun, Subject], list[Score]]
    texts: Callable[[EvalRun], list[EvaluationItem]] | None = None
    remote_sets: Callable[[EvaluationSection], list[str]] | None = None
    bound: Callable[[EvalRun, Subject], JudgeBound] | None = None
    check: Callable[[EvaluationSection], object] | None = None
    columns: Callable[[Subject], tuple[str, ...]] | None = None
    export: Callable[[Store, Sequence[str], Path], list[Path]] | None = None

    def shown(self, subject: Subject) -> tuple[str, ...]:
        """Return the scores of a subject that tables show, the first one first."""
        return self.columns(subject) if self.columns else self.facts.headlines
