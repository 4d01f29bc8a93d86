"""The stages of a run with their state and upper bounds on rows and tokens; no model is loaded.

Bounds, not estimates: the most rows that a stage can have, the most tokens that it may generate.
Training tokens depend on the data and are "?"; training/plan/tables.py has estimates.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rich.table import Table

from core.benchmarks import FIRST_FEEDBACK_ITERATION
from core.errors import StaleArtifact
from core.stages import (
    FUTURE_STAGES,
    PAST_STAGES,
    SPECS,
    Paths,
    Ref,
    Stage,
    model_ref,
    order_of,
    stages_of,
)
from core.store import Store
from training.candidate_judge import judge_kind
from training.plan.work import ANSWERING, JUDGING
from training.seed_stages import seed_stages

if TYPE_CHECKING:
    from core.config import Config

# Stages of published variants: no part of a plan that does not want them.
_OF_VARIANTS = (
    Stage.PREVIOUS_JUDGMENTS, Stage.CONSISTENCY, Stage.IMPLICIT_REWARDS,
    Stage.META_VERDICTS, Stage.JUDGE_PAIRS, *PAST_STAGES, *FUTURE_STAGES,
)  # fmt: skip


class PlanRow(NamedTuple):
    """One stage of the plan; `rows` and `tokens` are None without a known bound."""

    ref: Ref
    state: str
    rows: int | None
    tokens: int | None


def plan(
    config: Config, k: int, redo: Ref | None = None, *, redo_stale: bool = False
) -> list[PlanRow]:
    """Return the stages up to M_k in the order they run.

    States: "done", "stale: …" (made with other settings, named), "altered" (its files changed),
    "redo" (`--redo` would rebuild it), "resumes" (it has rows or checkpoints of a killed run),
    "runs", "off" (disabled by the configuration). A change in the contents of a source file or of
    an earlier artifact is found only when its stage is reached.
    """
    store = Store(config.folder)
    refs = [Ref(i, stage) for i in range(k + 1) for stage in stages_of(i)]
    again = store.dependents(redo, refs) if redo else []
    rows = [_row(config, store, ref, again) for ref in sorted(refs, key=order_of)]
    rows = [row for row in rows if row.ref.stage not in _OF_VARIANTS or row.state != "off"]
    if not redo_stale:
        return rows
    stale = [row.ref for row in rows if row.state.startswith(("stale", "altered"))]
    again = [ref for first in stale for ref in store.dependents(first, refs)]
    return [_row(config, store, row.ref, again) for row in rows]


def _row(config: Config, store: Store, ref: Ref, again: list[Ref]) -> PlanRow:
    config = config.at(ref.iteration)
    if is_off(config, ref):
        return PlanRow(ref, "off", None, None)
    if ref in again and store.exists(ref):
        rows, per_row = _bounds(config, ref)
        return PlanRow(ref, "redo", rows, rows * per_row if rows and per_row else per_row)
    if store.exists(ref):
        made = store.manifest(ref).key
        now = replace(made, config=config.plain(*made.config), seed=config.seed)
        if ref == model_ref(0) and Path(config.model.base).expanduser().is_dir():
            now.config["model"]["base"] = made.config["model"]["base"]  # its bytes count
        if "m1.model" in now.config and Path(config.m1.model or "").expanduser().is_dir():
            now.config["m1.model"] = made.config["m1.model"]  # likewise
        if changed := made.difference(now):
            return PlanRow(ref, f"stale: {changed}", None, None)
        try:
            store.verify(ref)
        except StaleArtifact:
            return PlanRow(ref, "altered", None, None)
        return PlanRow(ref, "done", store.manifest(ref).rows, None)
    rows, per_row = _bounds(config, ref)
    tokens = 0 if per_row == 0 else None if rows is None or per_row is None else rows * per_row
    return PlanRow(ref, _unfinished(store.paths, ref), rows, tokens)


def _unfinished(paths: Paths, ref: Ref) -> str:
    partial = paths.partial(ref)
    if partial.is_file():
        with partial.open("rb") as file:
            # The first line is the header; a line cut by a kill has no line break.
            finished = sum(line.endswith(b"\n") for line in file) - 1
        return f"resumes after {max(0, finished)} rows"
    if any(paths.work(ref).glob("checkpoint-*")):
        return "resumes from a checkpoint"
    return "runs"


def is_off(config: Config, ref: Ref) -> bool:
    """Whether a run with these settings makes no such artifact."""
    if ref.iteration < FIRST_FEEDBACK_ITERATION:
        return ref not in seed_stages(config)
    pairs, first = config.pairs, ref.iteration == FIRST_FEEDBACK_ITERATION
    compared, meta = (Stage.PREVIOUS_JUDGMENTS, Stage.CONSISTENCY), config.judge_pairs.enabled
    off = {
        Stage.PROMPT_CALLS: not config.prompts.writes,
        **dict.fromkeys(compared, not config.compares_judges),
        Stage.IMPLICIT_REWARDS: pairs.filter == "none",
        **dict.fromkeys(PAST_STAGES, pairs.rejected_from == "own" or first),  # M_1 is M1
        **dict.fromkeys(FUTURE_STAGES, pairs.chosen_from == "own"),
        **dict.fromkeys((Stage.META_VERDICTS, Stage.JUDGE_PAIRS), not meta),
    }
    return off.get(ref.stage, False)


def _bounds(config: Config, ref: Ref) -> tuple[int | None, int | None]:
    """Return the most rows a stage can have, and the most tokens it generates for each."""
    prompts, n, judge = config.prompts, config.candidates.n, config.judge
    known: dict[Stage, tuple[int | None, int | None]] = {
        Stage.IFT: (config.ift.max_examples, 0),
        Stage.SFT: (config.ift.max_examples, None),
        Stage.EFT: (config.eft.selection.max_examples, 0),
        Stage.PROMPT_CALLS: (prompts.max_calls, prompts.max_new_tokens),
        # By self-instruction rejected ones are rows too.
        Stage.PROMPTS: (None if prompts.writes else prompts.count, 0),
        **dict.fromkeys(ANSWERING, (prompts.count * n, config.candidates.max_new_tokens)),
        **dict.fromkeys(JUDGING, _judgments(config)),
        Stage.FUTURE_PAIRS: (prompts.count, 0),
        Stage.FUTURE: (prompts.count, None),
        Stage.CONSISTENCY: (prompts.count, 0),
        Stage.IMPLICIT_REWARDS: (prompts.count * n * 2, 0),
        Stage.PAIRS: (prompts.count, 0),
        # Every two judgments of an answer, in both orders.
        Stage.META_VERDICTS: (
            prompts.count * judge.draws * (judge.draws - 1),
            judge.max_new_tokens,
        ),
        Stage.JUDGE_PAIRS: (prompts.count, 0),
        Stage.HEALTH: (9, 0),
    }
    if ref.stage is Stage.MODEL and ref.iteration > 1 and config.improvement.method == "dpo":
        kinds = 1 + config.judge_pairs.enabled
        return prompts.count * kinds, None
    if ref == model_ref(1):
        return (None, 0) if config.m1.model else (_m1_rows(config), None)
    return known.get(ref.stage, (None, None))


def _judgments(config: Config) -> tuple[int, int]:
    answers, judge = config.prompts.count * config.candidates.n, config.judge
    match judge_kind(config):
        case "model":
            return answers * judge.draws, judge.max_new_tokens
        case "external":
            return answers * judge.draws, 0  # none here
    return answers, 0


def _m1_rows(config: Config) -> int | None:
    eft = config.eft.selection.max_examples if config.m1.use_eft else 0
    return None if eft is None else config.ift.max_examples + eft


def plan_table(config: Config, k: int, rows: list[PlanRow]) -> Table:
    """Return the plan as a table."""
    table = Table(title=f"{config.folder}: up to M{k}", title_justify="left")
    for name in ("artifact", "what", "state", "rows ≤", "new tokens ≤"):
        table.add_column(name, justify="right" if "≤" in name else "left")
    for row in rows:
        title = SPECS[row.ref.stage].title
        if row.ref == model_ref(row.ref.iteration) and row.ref.iteration:
            title = f"M{row.ref.iteration}"
        tokens = "" if row.tokens == 0 or row.state == "done" else _number(row.tokens)
        table.add_row(str(row.ref), title, row.state, _number(row.rows), tokens)
    return table


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"
