"""Which published variants of the loop a run follows, each with the shape of its published results.

A variant is an entry of reports/published/variants.toml and, here, the settings that make it one.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.benchmarks import FIRST_FEEDBACK_ITERATION
from reports import published
from reports.document import Cell, Published, Section, Table, TableRow
from reports.sections.section import ReportSection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from core.config import Config
    from core.reader import RunReader

_ABOUT = (
    "This run follows published variants of the loop. Their results were measured with other "
    "models, data and judges: they show the shape to expect and are not comparable with this run's "
    "numbers."
)
_USED: Mapping[str, Callable[[Config], bool]] = {
    "meta_rewarding": lambda config: config.judge_pairs.enabled,
    "iterative_rpo": lambda config: config.dpo.nll_weight > 0,
    "tulu3_dpo": lambda config: config.dpo.loss == "sigmoid_norm",
    "cream": lambda config: config.pairs.consistency != "off",
    "scir": lambda config: config.pairs.filter == "implicit_reward",
    "temporal": lambda config: config.pairs.temporal,
}
"""By the key of a variant: whether an iteration's settings make it one."""


@cache
def load_variants() -> dict[str, dict[str, Any]]:
    """Return the published variants by key."""
    path = Path(published.__file__).with_name("variants.toml")
    entries = tomllib.loads(path.read_text(encoding="utf-8"))["variant"]
    return {entry["key"]: entry for entry in entries}


def variants_of(config: Config) -> dict[str, list[int]]:
    """Return the variants that a configuration follows, and in which iterations."""
    iterations = range(FIRST_FEEDBACK_ITERATION, config.iterations + 1)
    found = {
        key: [k for k in iterations if is_used(config.at(k))] for key, is_used in _USED.items()
    }
    return {key: where for key, where in found.items() if where}


def sections(results: RunReader) -> Iterable[Section]:
    """Return the section; [] for a run that follows none, as the paper's loop does."""
    used = variants_of(results.config) if results.config is not None else {}
    if not used:
        return []
    known = load_variants()
    said = [
        f"{known[key]['title']}, in iteration{'s' * (len(where) > 1)} "
        f"{', '.join(map(str, where))}: {known[key]['what']}"
        for key, where in used.items()
    ]
    tables = tuple(_table(known[key]) for key in used if known[key]["rows"])
    return [Section("variants", "Variants of the loop", (_ABOUT, *said), tables=tables)]


def _table(entry: Mapping[str, Any]) -> Table:
    rows = tuple(
        TableRow(
            label,
            tuple(Cell(published=Published(value, entry["source"])) for value in values),
            kind="published",
        )
        for label, values in entry["rows"]
    )
    return Table(
        f"variant_{entry['key']}",
        f"{entry['title']}: published",
        entry["head"],
        tuple(entry["columns"]),
        rows,
        notes=tuple(entry["notes"]),
        origin=entry["source"],
    )


SECTION = ReportSection(sections)
