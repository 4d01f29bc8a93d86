"""Meta-judging in an iteration: the meta-judge's biases, the pairs of judgments, their rows."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from core.stages import Ref, Stage
from judges.health import measure_meta_judge
from reports.document import Cell, Item, Table, TableRow
from reports.sections.cells import Column, counted_rows, facts_of, words
from reports.sections.items import NONE, group, points, text_or_note

if TYPE_CHECKING:
    from core.reader import RunReader
    from core.records import JudgePair
    from reports.document import RowGroup

_BIASES = {
    "parse_rate": Column("share of replies with a readable winner", 3),
    "first_shown_rate": Column("winner was shown first (no position bias: 0.5)", 3),
    "higher_score_rate": Column("winner gave the higher score (no score bias: 0.5)", 3),
    "flip_rate": Column("winner changes with the order", 3),
}


def tables(results: RunReader, k: int) -> list[Table]:
    """Return the meta-judge's health and the outcomes of its pairs; [] if it was not asked."""
    made = []
    if results.exists(Ref(k, Stage.META_VERDICTS)):
        made.append(_health(results, k))
    if results.exists(Ref(k, Stage.JUDGE_PAIRS)):
        made.append(_outcomes(results, k))
    return made


def _health(results: RunReader, k: int) -> Table:
    scores = {j.key: j.score or 0.0 for j in results.rows(Ref(k, Stage.JUDGMENTS))}
    measured = measure_meta_judge(results.rows(Ref(k, Stage.META_VERDICTS)), scores)
    lines = (
        (
            _BIASES[one.key],
            Cell(one.value, digits=_BIASES[one.key].digits, n=one.n)
            if one.value is not None
            else Cell(n=one.n, reason="nothing to measure"),
        )
        for one in measured
    )
    return Table(
        f"iteration_{k}_meta_judge",
        f"M{k - 1} as the judge of its own judgments, iteration {k}",
        "measurement",
        ("value",),
        tuple(TableRow(column.title, (cell,)) for column, cell in lines),
        notes=(
            "Verdicts, one per order; n counts those that the share is of. The weights of wins in "
            "each position remove position bias from the pairs; score bias stays in them.",
        ),
    )


def _outcomes(results: RunReader, k: int) -> Table:
    ref = Ref(k, Stage.JUDGE_PAIRS)
    found = Counter(row.outcome for row in results.rows(ref))
    weights = facts_of(results, ref).get("position_weights")
    told = ""
    if weights:
        told = (
            f"A win counts {weights[0]:.3f} where the winner was shown first, {weights[1]:.3f} "
            "where it was shown second."
        )
    return Table(
        f"iteration_{k}_judge_pairs",
        f"Preference pairs of judgments, iteration {k}",
        "outcome",
        ("prompts", "% of all"),
        counted_rows(
            {words(name): count for name, count in found.most_common()},
            "prompts in all",
            f"judge_pairs/iter{k}",
        ),
        notes=(told,) if told else (),
    )


def rows(results: RunReader, k: int, most: int) -> RowGroup | None:
    """Return the pairs of judgments; None if there are none."""
    ref = Ref(k, Stage.JUDGE_PAIRS)
    title = f"Iteration {k}: judgments compared by M{k - 1}"
    columns = ("answer", "outcome", "strengths")
    return group(results, ref, title, columns, _item, most=most, key=f"judge_pairs/iter{k}")


def _item(row: JudgePair) -> Item:
    strengths = ", ".join(map(points, row.strengths)) or NONE
    return Item(
        row.key,
        (row.subject_key or NONE, words(row.outcome), strengths),
        (
            ("What the judge was asked", text_or_note(row.prompt)),
            ("The chosen judgment", text_or_note(row.chosen or "")),
            ("The rejected judgment", text_or_note(row.rejected or "")),
            ("Scores of the judgments", ", ".join(map(points, row.scores)) or NONE),
        ),
    )
