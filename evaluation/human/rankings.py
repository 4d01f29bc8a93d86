"""Human rankings of candidate replies, as the ranked-replies file that other commands read.

One JSON line per candidate, best first:

    {"question": "…", "answer": "…", "rank": 0, "score": 3.7, "candidate": "iter2/p5/c1",
     "mean_rank": 1.5, "annotators": 3}

`rank` 0 is the best, equal ranks are ties; it follows from `mean_rank`, the mean over annotators of
the rank each gave, ties counted by their middle (1, 1, 3 as 1.5, 1.5, 3). `score` is the mean of
the run's own judge, null without one. As it is, the file is a source for `eft.source.path` and
`ift.source` (training/data/open_assistant.py) and for `srlm-eval agreement --ranked`, which then
says how well the run's own judge agrees with these people.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from core import jsonl
from core.errors import ConfigError
from core.reductions import mean_scores
from core.stages import Ref, Stage
from core.store import Store
from evaluation.human.ballots import read_ballots
from evaluation.human.study import StudyFolder, StudyInfo, read_study

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from evaluation.human.ballots import Ballot
    from evaluation.human.study import Item

_ROUNDING = 9  # digits: means of thirds that are equal must compare so


@dataclass(frozen=True, slots=True)
class Ranking:
    """How one annotator ranked an item's replies: 1 the best, in the order of `Item.texts`."""

    item: str
    annotator: str
    ranks: tuple[int, ...]
    comment: str
    seconds: float
    ranked_at: str


def read_rankings(folder: Path) -> list[Ranking]:
    """Return the rankings of the study in a folder that count, in the order they were given.

    Raises:
        MissingArtifact: there is no study.
        ConfigError: it is a comparison of two models.
        DataError: one of its files was damaged.
    """
    there = StudyFolder(folder)
    return _rankings(read_study(there), read_ballots(there.ballots))


def export_rankings(folder: StudyFolder) -> Path:
    """Write the rankings to rankings.jsonl, replacing an earlier export; return its path."""
    study = read_study(folder)
    rankings = _rankings(study, read_ballots(folder.ballots))
    scores = _own_scores(folder, study)
    lines = (json.dumps(row, ensure_ascii=False) for row in _rows(study, rankings, scores))
    temporary = folder.rankings.with_suffix(".tmp")
    jsonl.write_lines(temporary, lines)
    return temporary.replace(folder.rankings)


def middle_ranks(ranks: Sequence[int]) -> list[float]:
    """Return ranks as fractions: those that are equal share the mean of the places they take.

    Whatever numbers were used (1, 1, 2 or 1, 1, 3), what counts is the order: 1.5, 1.5, 3.
    """
    return [
        sum(other < rank for other in ranks) + (1 + sum(other == rank for other in ranks)) / 2
        for rank in ranks
    ]


def _rankings(study: StudyInfo, ballots: Sequence[Ballot]) -> list[Ranking]:
    if study.kind != "ranking":
        message = "a comparison has no rankings; read its votes (evaluation/human/votes)"
        raise ConfigError(message)
    return [
        Ranking(
            ballot.item,
            ballot.annotator,
            tuple(int(rank) for rank in ballot.answer.split(",")),
            ballot.comment,
            ballot.seconds,
            ballot.cast_at,
        )
        for ballot in ballots
    ]


def _rows(
    study: StudyInfo, rankings: Sequence[Ranking], scores: Mapping[str, float | None]
) -> Iterator[dict[str, Any]]:
    for item in study.items:
        given = [middle_ranks(r.ranks) for r in rankings if r.item == item.item]
        if not given:
            continue
        means = [round(fmean(ranks), _ROUNDING) for ranks in zip(*given, strict=True)]
        yield from _of_item(item, means, len(given), scores)


def _of_item(
    item: Item, means: Sequence[float], annotators: int, scores: Mapping[str, float | None]
) -> Iterator[dict[str, Any]]:
    places = {mean: place for place, mean in enumerate(sorted(set(means)))}
    for at in sorted(range(len(means)), key=lambda at: (means[at], at)):
        yield {
            "question": item.prompt,
            "answer": item.texts[at],
            "rank": places[means[at]],
            "score": scores.get(item.keys[at]),
            "candidate": item.keys[at],
            "mean_rank": means[at],
            "annotators": annotators,
        }


def _own_scores(folder: StudyFolder, study: StudyInfo) -> dict[str, float | None]:
    """Return what the run's own judge gave its candidates; nothing if it has not judged them."""
    store = Store(folder.run)
    ref = Ref(study.iteration or 0, Stage.JUDGMENTS)
    if not store.exists(ref):
        return {}
    return {key: found.mean for key, found in mean_scores(store.read(ref)).items()}
