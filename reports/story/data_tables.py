"""Tables of what an iteration's data became: prompts, pairs, lengths, checkpoints."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from core.intervals import bootstrap_mean
from core.paired import compare
from core.stages import Ref, Stage, model_ref
from reports.document import Cell, Table, TableRow
from reports.figures.points import Point
from reports.story.cells import count, counted, facts_of, of_point, seed_of, words
from reports.story.training_log import Checkpoint, checkpoints

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.results import RunResults

_OUTCOMES = ("pair", "tie", "identical_answers", "one_scored", "unscored", "no_candidates")


def prompts(results: RunResults, k: int) -> Table:
    """Return how many tasks were found in the generator's words, kept, and rejected by reason."""
    reasons = Counter(row.rejected for row in results.rows(Ref(k, Stage.PROMPTS)))
    kept = reasons.pop(None, 0)
    named = {"kept": kept} | {
        f"rejected: {words(str(reason))}": number for reason, number in reasons.most_common()
    }
    return Table(
        f"iteration_{k}_prompts",
        f"Prompts of iteration {k}",
        "prompts",
        ("number", "% of all"),
        counted(named, "written in all", f"prompts/iter{k}"),
    )


def ledger(results: RunResults, k: int) -> Table:
    """Return what became of each kept prompt; the outcomes add up to them."""
    found = Counter(row.outcome for row in results.rows(Ref(k, Stage.PAIRS)))
    ordered = [*_OUTCOMES, *sorted(found.keys() - {*_OUTCOMES})]
    named = {words(name): found[name] for name in ordered if found[name]}
    kept = sum(row.kept for row in results.rows(Ref(k, Stage.PROMPTS)))
    agrees = "add up to" if found.total() == kept else f"are {found.total()}, not"
    return Table(
        f"iteration_{k}_pairs",
        f"Preference pairs of iteration {k}",
        "outcome",
        ("prompts", "% of all"),
        counted(named, "prompts in all", f"pairs/iter{k}"),
        notes=(f"The outcomes {agrees} the {kept} kept prompts.",),
    )


def lengths(results: RunResults, k: int) -> Table:
    """Return mean characters of candidates, chosen and rejected answers, and how many were cut."""
    answers = [r for r in results.rows(Ref(k, Stage.CANDIDATES)) if r.finish != "too_long"]
    pairs = [row for row in results.rows(Ref(k, Stage.PAIRS)) if row.outcome == "pair"]
    chosen = {row.key: float(len(row.chosen)) for row in pairs}
    rejected = {row.key: float(len(row.rejected)) for row in pairs}
    seed = seed_of(results)
    difference = compare(chosen, rejected, seed=seed)
    paired = None
    if difference.difference is not None:
        low, high = difference.interval or (None, None)
        paired = Point(difference.difference, low, high, difference.n)
    of_candidates = _mean([len(r.text) for r in answers], [r.prompt_key for r in answers], seed)
    lines = (
        ("candidates", of_candidates, [r.finish == "length" for r in answers]),
        ("chosen", _mean_of(chosen, seed), [not row.chosen_ended for row in pairs]),
        ("rejected", _mean_of(rejected, seed), [not row.rejected_ended for row in pairs]),
    )
    rows = [
        TableRow(name, (of_point(point, "there are none"), count(sum(cut))))
        for name, point, cut in lines
    ]
    rows.append(TableRow("chosen − rejected (paired)", (of_point(paired, "no pairs"), Cell())))
    return Table(
        f"iteration_{k}_lengths",
        f"Length of the answers of iteration {k}",
        "answers",
        ("mean characters", "cut by the token limit"),
        tuple(rows),
        notes=("Intervals resample prompts.",),
    )


def early_stopping(results: RunResults, k: int) -> Table | None:
    """Return how each checkpoint fared against the one before; None if none were compared."""
    ref = model_ref(k)
    found = checkpoints(results, ref)
    if not found:
        return None
    kept = facts_of(results, ref).get("kept_step")
    return Table(
        f"iteration_{k}_checkpoints",
        f"Checkpoints of M{k}: which one was kept",
        "checkpoint",
        ("compared with", "better", "tie", "worse", "unread", "sign test p", "choice"),
        tuple(_checkpoint(checkpoint, kept) for checkpoint in found),
        notes=(
            "Answers to the validation prompts, judged against the previous checkpoint's. "
            "Neighbours form a chain of win rates (a tie is half a win, unread ones are left out); "
            "the strongest is kept, of equals the last.",
        ),
    )


def _checkpoint(checkpoint: Checkpoint, kept: int | None) -> TableRow:
    choice = Cell(text="kept") if checkpoint.step == kept else Cell()
    label = f"step {checkpoint.step}"
    if checkpoint.before is None:
        return TableRow(label, (Cell(text="nothing: the first"), *(Cell(),) * 5, choice))
    c = checkpoint
    counts = tuple(count(number) for number in (c.better, c.tie, c.worse, c.unread))
    p_value = Cell(value=c.p_value, digits=3, n=c.better + c.worse, missing=c.unread)
    return TableRow(label, (Cell(text=f"step {c.before}"), *counts, p_value, choice))


def _mean_of(values: dict[str, float], seed: int) -> Point | None:
    return _mean(list(values.values()), list(values), seed)


def _mean(values: Sequence[float], clusters: Sequence[str], seed: int) -> Point | None:
    if not values:
        return None
    low, high = bootstrap_mean(values, clusters, seed=seed) or (None, None)
    return Point(sum(values) / len(values), low, high, len(values))
