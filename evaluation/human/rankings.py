"""Human rankings of candidate replies: their export as ranked replies, and their agreement.

One JSON line per candidate, best first:

    {"question": "…", "answer": "…", "rank": 0, "score": 3.7, "candidate": "iter2/p5/c1",
     "mean_rank": 1.5, "annotators": 3}

`rank` 0 is the best, equal ranks are ties; it follows from `mean_rank`, the mean over annotators of
the rank each gave, ties averaged (1, 1, 3 as 1.5, 1.5, 3). `score` is the mean score of the run's
own judge, null without one. The file can be used for `eft.source.path` and
`ift.source` (core/sources/open_assistant.py) and for `srlm-eval agreement --ranked`, which then
measures how well the run's own judge agrees with the annotators.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from operator import itemgetter
from statistics import fmean
from typing import TYPE_CHECKING, Any

from core import jsonl
from core.errors import ConfigError
from core.reductions import mean_scores
from core.stages import Ref, Stage
from core.store import Store
from evaluation.human.krippendorff import krippendorff_alpha
from evaluation.human.study import StudyFolder, StudyInfo, read_study
from evaluation.human.vote_store import read_submissions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from core.records import Score

RANKS_ALPHA = "people/alpha_ranks"
_ROUNDING = 9  # digits: means of thirds that are equal must compare so


@dataclass(frozen=True, slots=True)
class Ranking:
    """One annotator's ranks of an item's replies: 1 the best, in the order of `StudyItem.texts`."""

    item: str
    annotator: str
    ranks: tuple[int, ...]


def read_rankings(folder: Path) -> list[Ranking]:
    """Return the valid rankings of the study in a folder, in the order of submission.

    Raises:
        ConfigError: it is a comparison of two models.
        MissingArtifact, DataError: see `read_study`.
    """
    study = read_study(StudyFolder(folder))
    if study.kind != "ranking":
        message = "a comparison has no rankings; read its votes (evaluation/human/votes)"
        raise ConfigError(message)
    return [
        Ranking(given.item, given.annotator, tuple(map(int, given.answer.split(","))))
        for given in read_submissions(StudyFolder(folder).database)
    ]


def export_rankings(folder: StudyFolder) -> Path:
    """Write the rankings to rankings.jsonl, replacing an earlier export; return its path."""
    study = read_study(folder)
    rows = _rows(study, read_rankings(folder.path), _own_scores(folder, study))
    lines = (json.dumps(row, ensure_ascii=False) for row in rows)
    jsonl.write_lines(folder.rankings, lines)
    return folder.rankings


def middle_ranks(ranks: Sequence[int]) -> list[float]:
    """Return fractional ranks: ties share the mean of the places they take.

    Only the order of the given numbers counts: 1, 1, 2 and 1, 1, 3 both become 1.5, 1.5, 3.
    """
    return [
        sum(other < rank for other in ranks) + (1 + sum(other == rank for other in ranks)) / 2
        for rank in ranks
    ]


def _rows(
    study: StudyInfo, rankings: Sequence[Ranking], scores: Mapping[str, float | None]
) -> Iterator[dict[str, Any]]:
    for item in study.items:
        given = [middle_ranks(r.ranks) for r in rankings if r.item == item.item]
        means = [round(fmean(ranks), _ROUNDING) for ranks in zip(*given, strict=True)]
        places = {mean: place for place, mean in enumerate(sorted(set(means)))}
        for at, mean in sorted(enumerate(means), key=itemgetter(1)):  # equal ones as in the study
            yield {
                "question": item.prompt,
                "answer": item.texts[at],
                "rank": places[mean],
                "score": scores.get(item.keys[at]),
                "candidate": item.keys[at],
                "mean_rank": mean,
                "annotators": len(given),
            }


def _own_scores(folder: StudyFolder, study: StudyInfo) -> dict[str, float | None]:
    """Return the scores of the run's own judge; {} if it has not judged the candidates."""
    store = Store(folder.run)
    ref = Ref(study.iteration or 0, Stage.JUDGMENTS)
    if not store.exists(ref):
        return {}
    return {key: found.mean for key, found in mean_scores(store.read(ref)).items()}


def ranking_scores(rankings: Sequence[Ranking]) -> list[Score]:
    """Return Krippendorff's alpha of the annotators' ranks, ties averaged.

    A unit is a candidate, its values the ranks among the candidates of its prompt, at interval
    level; a prompt is one cluster of the interval. `n` counts candidates with two or more ranks,
    `missing` the others.
    """
    ranks: dict[tuple[str, int], list[float]] = {}
    for ranking in rankings:
        for at, rank in enumerate(middle_ranks(ranking.ranks)):
            ranks.setdefault((ranking.item, at), []).append(rank)
    alpha = krippendorff_alpha(
        RANKS_ALPHA,
        list(ranks.values()),
        sorted({rank for given in ranks.values() for rank in given}),
        level="interval",
        clusters=[item for item, _ in ranks],
    )
    return [alpha]
