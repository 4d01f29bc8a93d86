"""Whether two judges put a prompt's answers in the same order (CREAM, arXiv 2410.12735).

J are the scores by M_{k-1}, which trains M_k; K those by M_{k-2}, of the same answers. A judge that
agrees with its predecessor knows something stable about them; one that does not is noise that DPO
would learn. C = (τ + 1)/2 is the probability that the judges' order of two answers is the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.correlations import kendall_tau
from core.errors import NothingToTrain
from core.records import OrderAgreement
from core.reductions import mean_consistency, scores_by_prompt
from core.store import Built

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from core.records import Judgment, Prompt
    from core.store import Partial


def compare(
    prompts: Iterable[Prompt],
    current: Sequence[Judgment],
    previous: Sequence[Judgment],
    out: Partial,
) -> Built:
    """Write each prompt's agreement; the facts hold C, their mean, and over how many prompts."""
    now, before = scores_by_prompt(current), scores_by_prompt(previous)
    out.add_missing(agreement(p.key, now.get(p.key, {}), before.get(p.key, {})) for p in prompts)
    found = list(out.rows.values())
    ordered = sum(row.tau is not None for row in found)
    return Built(
        counts={"prompts": len(found), "ordered_by_both": ordered},
        facts={"consistency": mean_consistency(found)},
    )


def agreement(
    prompt_key: str, current: Mapping[str, float], previous: Mapping[str, float]
) -> OrderAgreement:
    """Return the agreement of two judges on a prompt's answers, given their scores by answer.

    Each answer's two scores are found by its key: an answer, or a prompt, that one judge could not
    score leaves the others where they are.
    """
    both = sorted(current.keys() & previous.keys())
    tau = kendall_tau([current[key] for key in both], [previous[key] for key in both])
    return OrderAgreement(prompt_key, tau, len(both))


def confidences(agreements: Sequence[OrderAgreement], kind: str) -> dict[str, float]:
    """Return the probability that a pair's order is right, by prompt (`pairs.consistency`).

    A prompt that either judge puts in no order has the mean of the others.

    Raises:
        NothingToTrain: no prompt is put in an order by both judges.
    """
    mean = mean_consistency(agreements)
    if mean is None:
        raise NothingToTrain(
            "pairs.consistency: there is no prompt whose answers both judges put in an order, so "
            "how far they agree is not known; set judge.reading = 'expected', or pairs.consistency "
            "= 'off' in the iteration whose earlier judge is M0 (iteration.2.pairs)"
        )
    own = {row.key: row.consistency for row in agreements} if kind == "prompt" else {}
    return {row.key: mean if (c := own.get(row.key)) is None else c for row in agreements}
