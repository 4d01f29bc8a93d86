"""Which stages of a run another run makes alike, as far as settings tell before anything is made.

The key of a stage holds the contents of its inputs, which are not known yet. Here a stage is taken
to depend on all before it but the measurements that nothing is made from. A run may therefore share
more than the plan says, never less, unless a file named by the settings changes meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError
from rich.table import Table

from core import jsonl
from core.command import runs_in
from core.config import Config
from core.errors import DataError
from core.making import HOW_PROMPTED
from core.stages import HOW_JUDGED, SPECS, Paths, Ref, Stage, order_of
from core.store import Store
from training.plan.plan import is_off, plan

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from core.sweep import Sweep
    from training.plan.plan import PlanRow

LINKED = "linked"
# Of those that pairs may be made from, `pairs` says so, which is a setting of its own stage.
_MEASUREMENTS = (
    Stage.PROBE, Stage.HEALTH, Stage.PREVIOUS_JUDGMENTS, Stage.CONSISTENCY, Stage.IMPLICIT_REWARDS
)  # fmt: skip
_TRAINED_ON_SEED = ("sft", "lora", "m1", "judge.rubric")
_TRAINED_ON_FEEDBACK = (
    *_TRAINED_ON_SEED, "judge_pairs", "dpo", "improvement", "engine.dtype", "evaluation.judge",
    *HOW_JUDGED,
)  # fmt: skip


class Other(NamedTuple):
    """A run to share with; `wanted`: whether it will make what it lacks, before it is asked."""

    folder: Path
    config: Config
    wanted: bool = False


def shared(config: Config, other: Config, refs: Sequence[Ref]) -> set[Ref]:
    """Return the stages up to which all settings and the seed are the same in both runs."""
    found: set[Ref] = set()
    if config.seed != other.seed:
        return found
    for ref in sorted(refs, key=order_of):
        if _settings(config, ref) == _settings(other, ref):
            found.add(ref)
        elif ref.stage not in _MEASUREMENTS:
            break
    return found


def with_links(config: Config, rows: Sequence[PlanRow], others: Sequence[Other]) -> list[PlanRow]:
    """Return a plan whose stages that another run has, or will have, are "linked: ITS FOLDER"."""
    refs, found = [row.ref for row in rows], {row.ref: row for row in rows}
    for other in reversed(others):  # the first one that has it counts
        store = Store(other.folder)
        for ref in shared(config, other.config, refs):
            row = found[ref]
            open_ = row.state.startswith(("runs", "resumes", LINKED))
            if open_ and (other.wanted or store.exists(ref)):
                found[ref] = row._replace(state=f"{LINKED}: {other.folder}", tokens=0)
    return [found[row.ref] for row in rows]


def others_in(folders: Sequence[Path]) -> list[Other]:
    """Return the runs that `--reuse` names, with the settings they were last made with."""
    found = []
    for folder in runs_in(folders):
        path = Paths(folder).config
        try:
            found.append(Other(folder, Config.model_validate(jsonl.parse(path.read_bytes(), path))))
        except (ValidationError, DataError):
            continue  # of another version: what it has is found by its keys
    return found


def sweep_table(sweep: Sweep, others: Sequence[Other], *, redo_stale: bool = False) -> Table:
    """Return a row for each run: what is done, what is linked and from where, what it makes.

    `others`: runs that are there already.
    """
    table = Table(title=f"{sweep.file}: {len(sweep.runs)} runs in {sweep.folder}")
    for name in ("run", "done", "linked", "made"):
        table.add_column(name, overflow="fold")
    earlier = [*others]
    for run in sweep.runs:
        rows = plan(run.config, run.config.iterations, redo_stale=redo_stale)
        rows = with_links(run.config, rows, [o for o in earlier if o.folder != run.config.folder])
        links: dict[str, list[PlanRow]] = {}
        for row in rows:
            if row.state.startswith(LINKED):
                links.setdefault(row.state.rpartition("/")[2], []).append(row)
        made = [row for row in rows if row.state.startswith(("runs", "resumes", "redo"))]
        stale = [row for row in rows if row.state.startswith(("stale", "altered"))]
        again = f"; stale: {_named(stale)}, see --redo stale" if stale else ""
        table.add_row(
            run.name,
            _named([row for row in rows if row.state == "done"]),
            "; ".join(f"{_named(found)} from {name}" for name, found in links.items()) or "–",
            _named(made) + again,
        )
        earlier.append(Other(run.config.folder, run.config, wanted=True))
    return table


def _named(rows: Sequence[PlanRow]) -> str:
    """Return stages in few words: "iter0/base … iter2/health (16)"."""
    if not rows:
        return "–"
    first, last = rows[0].ref, rows[-1].ref
    return str(first) if first == last else f"{first} … {last} ({len(rows)})"


def _settings(config: Config, ref: Ref) -> dict[str, object]:
    own, sections = config.at(ref.iteration), SPECS[ref.stage].sections
    if ref.stage is Stage.SFT:
        sections += ("lora",)
    if ref.stage is Stage.JUDGMENTS:
        sections += ("evaluation.judge",)
    if ref.stage is Stage.MODEL:
        sections += _TRAINED_ON_FEEDBACK if ref.iteration > 1 else _TRAINED_ON_SEED
    return own.plain(*sections, *HOW_PROMPTED) | {"off": is_off(own, ref)}
