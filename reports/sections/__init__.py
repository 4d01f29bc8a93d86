"""The sections of a run's report, in their order.

A benchmark's section is one module (its tables, figures and rows) and one entry in `SECTIONS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.sections import (
    agreement,
    alpaca_eval,
    head_to_head,
    human,
    lengths,
    loop,
    mt_bench,
    nlp,
    outcome,
    paper,
    settings,
    summary,
    training_data,
    variants,
)
from reports.sections.section import plain_section

if TYPE_CHECKING:
    from core.reader import RunReader
    from reports.document import RowGroup

SECTIONS = (
    outcome.SECTION,
    summary.SECTION,
    head_to_head.SECTION,
    alpaca_eval.SECTION,
    mt_bench.SECTION,
    nlp.SECTION,
    plain_section(
        "ifeval",
        {
            "prompt_level_strict_acc": "prompt, strict",
            "inst_level_strict_acc": "instruction, strict",
            "prompt_level_loose_acc": "prompt, loose",
            "inst_level_loose_acc": "instruction, loose",
        },
        "By lm-eval's checker: prompts whose instructions are all followed, and single "
        "instructions. Those of one prompt are one observation for the intervals.",
    ),
    agreement.SECTION,
    human.SECTION,
    lengths.SECTION,
    training_data.SECTION,
    loop.SECTION,
    variants.SECTION,
    settings.SECTION,
    paper.SECTION,
)


def groups(results: RunReader, *, most: int = 1000) -> dict[str, RowGroup]:
    """Return the rows behind the numbers by group, each with at most `most` rows.

    Keys: "<model>/alpaca_eval", "<model>/mt_bench", "<model>/nlp/<task>", "<model>/agreement",
    "head_to_head/<A>-<B>", "human/<A>-<B>"; of an iteration "prompts/iter<k>",
    "judgments/iter<k>", "consistency/iter<k>", "pairs/iter<k>", "judge_pairs/iter<k>",
    "truth/iter<k>", "self_judge/iter<k>", "contamination/iter<k>"; "probe/M0", "probe/M1" and
    "eft_judgments".
    """
    found = (group for section in SECTIONS for group in section.rows(results, most))
    return {group.key: group for group in found if group is not None}
