"""How far annotators agree when they rank candidate replies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evaluation.human.krippendorff import krippendorff_alpha
from evaluation.human.rankings import middle_ranks
from evaluation.human.statistics import alpha_score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.records import Score
    from evaluation.human.rankings import Ranking

RANKS_ALPHA = "people/alpha_ranks"


def scores(rankings: Sequence[Ranking], *, seed: int) -> list[Score]:
    """Return Krippendorff's alpha of the ranks that people gave, ties by their middle.

    A unit is a candidate, its values the ranks among the candidates of its prompt, their difference
    the square of the distance; the interval resamples prompts. `n` counts candidates that two or
    more people ranked, `missing` the others.
    """
    ranks: dict[tuple[str, int], list[float]] = {}
    for ranking in rankings:
        for at, rank in enumerate(middle_ranks(ranking.ranks)):
            ranks.setdefault((ranking.item, at), []).append(rank)
    found = krippendorff_alpha(
        list(ranks.values()),
        sorted({rank for given in ranks.values() for rank in given}),
        level="interval",
        seed=seed,
        clusters=[item for item, _ in ranks],
    )
    return [alpha_score(RANKS_ALPHA, found, len(ranks))]
