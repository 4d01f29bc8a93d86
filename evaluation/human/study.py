"""A study's files and its assignment: who sees which texts in which order, fixed at the start.

    eval/human/<A>-<B>/study.json          the texts, models, annotators and seed
    eval/human/<A>-<B>/links.json          each annotator's secret (readable by its owner only)
    eval/human/<A>-<B>/votes.sqlite        the answers, see vote_store.py
    eval/human/<A>-<B>/votes.jsonl         exported: see votes.py

A study of rankings lies in eval/human/iter<k>-candidates/ and exports rankings.jsonl. The texts are
copied into study.json, so that they are preserved when the run is evaluated again.
"""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import TypeAdapter, ValidationError

from core.errors import DataError, MissingArtifact

if TYPE_CHECKING:
    from pathlib import Path

Kind = Literal["comparison", "ranking"]
_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class StudyItem:
    """A prompt and what is judged: the answers of A and B in that order, or N candidates.

    `keys` name the texts in the run: a prompt's key twice, or the candidates' own.
    """

    item: str
    prompt: str
    texts: tuple[str, ...]
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StudyInfo:
    """The contents of study.json.

    `models` are (A, B); empty for rankings, whose `iteration` is that of the candidates. `inputs`
    maps the artifacts that the texts were read from to their hashes. `left_out` counts prompts that
    could not be sampled, by reason; `available` those that could.
    """

    kind: Kind
    run: str
    models: tuple[str, ...]
    iteration: int | None
    n: int
    annotators: tuple[str, ...]
    seed: int
    inputs: dict[str, str]
    available: int
    left_out: dict[str, int]
    created_at: str
    items: tuple[StudyItem, ...]
    schema: int = _SCHEMA


_INFO = TypeAdapter(StudyInfo)
_LINKS = TypeAdapter(dict[str, str])


@dataclass(frozen=True, slots=True)
class ShownItem:
    """An item as one annotator sees it: `order[i]` is the text at position i, from left or top.

    For a comparison (0, 1) means that A is on the left.
    """

    place: int
    item: StudyItem
    order: tuple[int, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts in the order in which they are shown."""
        return tuple(self.item.texts[at] for at in self.order)


class StudyFolder:
    """The files of a study, as listed above."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.info, self.links = path / "study.json", path / "links.json"
        self.database = path / "votes.sqlite"
        self.votes, self.rankings = path / "votes.jsonl", path / "rankings.jsonl"

    @property
    def run(self) -> Path:
        """The folder of the run it belongs to."""
        return self.path.resolve().parents[2]


def study_folders(run: Path) -> list[StudyFolder]:
    """Return the studies of a run, in the order of their names."""
    return [StudyFolder(path.parent) for path in sorted(run.glob("eval/human/*/study.json"))]


def read_study(folder: StudyFolder) -> StudyInfo:
    """Return a study.

    Raises:
        MissingArtifact: there is none in this folder.
        DataError: its file was damaged.
    """
    try:
        return _INFO.validate_json(_read(folder.info))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        what = f"{where}: {first['msg']} (expected a study of schema {_SCHEMA})"
        raise DataError(folder.info, None, what) from None


def read_links(folder: StudyFolder) -> dict[str, str]:
    """Return each annotator's secret; raises as `read_study`."""
    try:
        return _LINKS.validate_json(_read(folder.links))
    except ValidationError as error:
        raise DataError(folder.links, None, error.errors()[0]["msg"]) from None


def _read(path: Path) -> bytes:
    if not path.is_file():
        message = f"{path.parent}: no study here; prepare one with `make human-eval`"
        raise MissingArtifact(message)
    return path.read_bytes()


def encode_study(study: StudyInfo) -> str:
    """Return a study as the text of its file."""
    return json.dumps(_INFO.dump_python(study, mode="json"), indent=1, ensure_ascii=False) + "\n"


def assignment(study: StudyInfo, annotator: str) -> tuple[ShownItem, ...]:
    """Return every item in the order, and with the sides, in which this annotator sees them.

    Both follow from the study's seed and the annotator's name. In a comparison A is on the left for
    half of the items (one more or fewer if n is odd), drawn for each annotator separately, so that
    position bias cannot favour a model.
    """
    items = list(study.items)
    random.Random(f"order/{study.seed}/{annotator}").shuffle(items)
    sides = random.Random(f"sides/{study.seed}/{annotator}")
    orders = (
        _balanced_sides(len(items), sides)
        if study.kind == "comparison"
        else [tuple(sides.sample(range(len(i.texts)), len(i.texts))) for i in items]
    )
    return tuple(
        ShownItem(place, item, order)
        for place, (item, order) in enumerate(zip(items, orders, strict=True), start=1)
    )


def _balanced_sides(n: int, draw: random.Random) -> list[tuple[int, ...]]:
    a_left = n // 2 + (draw.choice((0, 1)) if n % 2 else 0)
    sides: list[tuple[int, ...]] = [(0, 1) if at < a_left else (1, 0) for at in range(n)]
    draw.shuffle(sides)
    return sides


def now_utc() -> str:
    """Return the time in UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
