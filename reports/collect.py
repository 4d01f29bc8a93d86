"""A run's scores.json: every number it has, with the items behind it and its conditions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from core.benchmarks import Items, Subject
from core.errors import StaleArtifact
from core.hashing import short
from core.records import Score
from core.stages import Ref, Stage, is_model
from core.version import code_version
from reports.scores import Metric, ScoresFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from core.reader import RunReader
    from core.store import Manifest

Condition = str | int | float | bool | None

_TIES_HALF = "pairwise_accuracy/ties_half"
_MADE_BEFORE_SCORES = (
    Stage.ANSWERS,
    Stage.ANNOTATIONS,
    Stage.TURN_JUDGMENTS,
    Stage.VERDICTS,
    Stage.ITEMS,
    Stage.RANKED_JUDGMENTS,
    Stage.EXTERNAL_JUDGMENTS,
    Stage.FLAGS,
)
_BY_A_JUDGE = (Stage.ANNOTATIONS, Stage.TURN_JUDGMENTS, Stage.VERDICTS, Stage.EXTERNAL_JUDGMENTS)
# Where data lies; what it holds is in the hash.
_PLACES = ("evaluation.nlp.data_dir",)
_ROUNDING = 1e-6


def collect(results: RunReader) -> ScoresFile:
    """Return every number of the run; a benchmark without scores is one metric with a reason.

    Raises:
        StaleArtifact: a number is not the mean of the items that lie beside it.
    """
    metrics = [metric for one in results.subjects() for metric in metrics_of(results, one)]
    return ScoresFile(run=results.name, code_version=code_version(), metrics=metrics)


def metrics_of(results: RunReader, one: Subject) -> Iterator[Metric]:
    """Yield the numbers of one benchmark with their items and conditions; raises as `collect`."""
    scores = results.scores(one.address)
    if not scores:
        absent = Score(one.facts.headline, None, 0, reason=results.why_absent(one.address))
        found = _metric(one, absent, None, {})
        yield found.model_copy(update={"better": "", "headline": True, "artifact": None})
        return
    items, conditions = results.items(one.address), conditions_of(results, one)
    for score in (*scores.values(), *_readings(scores)):
        yield _metric(one, score, items.get(score.key), conditions)


def _readings(scores: Mapping[str, Score]) -> Iterator[Score]:
    """Yield the reading of pairwise accuracy that is a mean over pairs, as a score of its own."""
    accuracy, ties = scores.get("pairwise_accuracy"), scores.get("tie_rate")
    if accuracy is None or ties is None or not accuracy.detail:
        return
    value = accuracy.detail.get(_TIES_HALF)
    yield Score(_TIES_HALF, value, ties.n, ties.missing, reason=None if value else ties.reason)


def _metric(
    one: Subject, score: Score, items: Items | None, conditions: dict[str, Condition]
) -> Metric:
    if items is not None and items.values:
        mean = math.fsum(items.values.values()) / len(items.values)
        if score.value is None or abs(mean - score.value) > _ROUNDING:
            again = f"make eval-all ARGS='--redo {one.address}'"
            if one.facts.by_people:
                again = f"srlm-eval human-results --study RUN/eval/{one.address}"
            message = (
                f"eval/{one.address}/scores: {score.key} is {score.value}, but its items have the "
                f"mean {mean:.6f}; make it again with `{again}`"
            )
            raise StaleArtifact(message)
    own_unit = (score.detail or {}).get("unit")  # of a metric whose direction nobody knows here
    return Metric(
        id=f"{one.address}/{score.key}",
        benchmark=one.benchmark,
        subject=one.name,
        part=one.part,
        metric=score.key,
        unit=own_unit or one.facts.unit_of(score.key),
        better="" if own_unit or one.facts.describes(score.key) else "higher",
        headline=one.facts.is_headline(score),
        value=score.value,
        low=score.low,
        high=score.high,
        stderr=score.stderr,
        n=score.n,
        missing=score.missing,
        reason=score.reason,
        detail=score.detail,
        artifact=str(one.ref(Stage.SCORES)),
        conditions=conditions,
        scale=items.scale if items is not None else None,
        items=items.values if items is not None else None,
        clusters=items.clusters if items is not None else None,
    )


def conditions_of(results: RunReader, one: Subject) -> dict[str, Condition]:
    """Return what two runs must share for this benchmark's numbers to be comparable.

    From the manifests of everything its scores were made from: the settings, the contents of
    prompts, items and references, and who judged. What is being compared, the models under test and
    their answers, is no condition.
    """
    found: dict[str, Condition] = {}
    sources = [one]
    if one.benchmark == "head_to_head":
        sources += [Subject(one.benchmark, (model,)) for model in one.models]
    for ref in (source.ref(stage) for source in sources for stage in _MADE_BEFORE_SCORES):
        if results.exists(ref):
            found |= _of_artifact(ref, results.manifest(ref))
    return dict(sorted(found.items()))


def _of_artifact(ref: Ref, manifest: Manifest) -> dict[str, Condition]:
    found: dict[str, Condition] = {}
    for name, value in manifest.key.config.items():
        if name not in _PLACES:
            inner = value if isinstance(value, dict) else {"": value}
            for key, leaf in inner.items():
                is_plain = isinstance(leaf, str | int | float | bool | None)
                found[f"{name}.{key}".rstrip(".")] = leaf if is_plain else repr(leaf)
    known = ("shots", "lm_eval", "judge", "annotator")
    found |= {name: manifest.facts[name] for name in known if name in manifest.facts}
    for name, digest in manifest.key.inputs.items():
        if role := _role(ref, name):
            found[role] = short(digest)
    return found


def _role(ref: Ref, name: str) -> str | None:
    """Return what an input is to a benchmark; None for what is being compared."""
    source = Ref.parse(name)
    if source is None:
        by_people = (subject := Subject.parse(ref.address)) is not None and subject.facts.by_people
        return None if by_people else name
    if is_model(source):
        return "judge weights" if ref.stage in _BY_A_JUDGE else None
    if source.stage is Stage.RANKED:
        return "human-ranked replies"
    reference = ref.stage is Stage.ANNOTATIONS and source.address != ref.address
    return "reference answers" if reference else None
