"""A run's scores.json: every number it has, with the items behind it and its conditions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

from core.errors import StaleArtifact
from core.hashing import short
from core.stages import Ref, Stage, evaluation_ref, is_model
from core.version import code_version
from reports.item_values import items_of
from reports.lineage import parse_address
from reports.scores import Metric, ScoresFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from core.records import Score
    from core.store import Manifest
    from reports.item_values import Items
    from reports.results import RunResults

Unit = Literal["percent", "points", "characters", "share", "p_value", "count"]
Condition = str | int | float | bool | None

HEADLINES = {
    "head_to_head": ("win", "tie", "lose", "net", "sign_test"),
    "alpaca_eval": ("win_rate", "length_controlled_win_rate", "avg_length"),
    "mt_bench": ("overall", "turn_1", "turn_2", "math_coding_reasoning", "rest"),
    "agreement": (
        "pairwise_accuracy", "five_best", "exact_match", "spearman", "kendall_tau", "parse_rate",
    ),
    "human": ("win", "tie", "lose", "net", "sign_test", "people/alpha"),
    "self_judge": ("mean_own", "mean_external", "mean_difference", "pairs_confirmed"),
    "contamination": ("flagged",),
}  # fmt: skip
_SHARES = {"spearman", "kendall_tau", "parse_rate"}
_POINTS = {"mean_own", "mean_external", "mean_difference"}
_DESCRIBE = {"tie", "lose", "sign_test", "avg_length", "avg_length_reference", "tie_rate"}
_OF_JUDGES = ("judge/", "people/")  # they describe who judged, not what was judged
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


class Wanted(NamedTuple):
    """A benchmark of one subject: a model, a matchup or an iteration."""

    subject: str
    benchmark: str
    address: str
    part: str = ""


def wanted(results: RunResults) -> list[Wanted]:
    """Return what a run is asked for or has, in the order of the tables."""
    found = []
    tasks = results.config.evaluation.nlp.tasks if results.config is not None else ()
    found += [
        Wanted(f"{a}-{b}", "head_to_head", f"head_to_head/{a}-{b}") for a, b in results.matchups
    ]
    for benchmark in ("alpaca_eval", "mt_bench"):
        found += [Wanted(m, benchmark, f"{m}/{benchmark}") for m in results.models]
    found += [Wanted(m, "nlp", f"{m}/nlp/{task}", task) for task in tasks for m in results.models]
    found += [Wanted(m, "agreement", f"{m}/agreement") for m in results.models]
    found += [Wanted(f"{a}-{b}", "human", f"human/{a}-{b}") for a, b in results.studies]
    for benchmark in ("self_judge", "contamination"):
        found += [Wanted(f"iter{k}", benchmark, f"{benchmark}/iter{k}") for k in results.iterations]
    asked = results.config.evaluation.benchmarks if results.config is not None else ()
    return [one for one in found if one.benchmark in asked or results.scores(one.address)]


def collect(results: RunResults) -> ScoresFile:
    """Return every number of the run; a benchmark without scores is one metric with a reason.

    Raises:
        StaleArtifact: a number is not the mean of the items that lie beside it.
    """
    metrics = [metric for one in wanted(results) for metric in _metrics(results, one)]
    return ScoresFile(run=results.name, code_version=code_version(), metrics=metrics)


def _metrics(results: RunResults, one: Wanted) -> Iterator[Metric]:
    scores = results.scores(one.address)
    if not scores:
        headline = "value" if one.benchmark == "nlp" else HEADLINES[one.benchmark][0]
        yield Metric(
            id=f"{one.address}/{headline}",
            benchmark=one.benchmark,
            subject=one.subject,
            part=one.part,
            metric=headline,
            unit=unit_of(one.benchmark, headline),
            better="",
            headline=True,
            value=None,
            n=0,
            reason=results.why_absent(one.address),
        )
        return
    items, conditions = items_of(results, one.benchmark, one.address), conditions_of(results, one)
    for score in (*scores.values(), *_readings(scores)):
        yield _metric(one, score, items.get(score.key), conditions)


def _readings(scores: Mapping[str, Score]) -> Iterator[Score]:
    """Yield the reading of pairwise accuracy that is a mean over pairs, as a score of its own."""
    from core.records import Score

    accuracy, ties = scores.get("pairwise_accuracy"), scores.get("tie_rate")
    if accuracy is None or ties is None or not accuracy.detail:
        return
    value = accuracy.detail.get(_TIES_HALF)
    yield Score(_TIES_HALF, value, ties.n, ties.missing, reason=None if value else ties.reason)


def _metric(
    one: Wanted, score: Score, items: Items | None, conditions: dict[str, Condition]
) -> Metric:
    if items is not None and items.values:
        mean = math.fsum(items.values.values()) / len(items.values)
        if score.value is None or abs(mean - score.value) > _ROUNDING:
            again = f"make eval-all ARGS='--redo {one.address}'"
            if one.benchmark == "human":
                again = f"srlm-eval human-results --study RUN/eval/{one.address}"
            message = (
                f"eval/{one.address}/scores: {score.key} is {score.value}, but its items have the "
                f"mean {mean:.6f}; make it again with `{again}`"
            )
            raise StaleArtifact(message)
    described = score.key in _DESCRIBE or "/" in score.key.removeprefix("pairwise_accuracy/")
    gated = items is not None and not described
    return Metric(
        id=f"{one.address}/{score.key}",
        benchmark=one.benchmark,
        subject=one.subject,
        part=one.part,
        metric=score.key,
        unit=unit_of(one.benchmark, score.key),
        better="higher" if gated or _is_better(one.benchmark, score.key) else "",
        headline=_is_headline(one.benchmark, score),
        value=score.value,
        low=score.low,
        high=score.high,
        stderr=score.stderr,
        n=score.n,
        missing=score.missing,
        reason=score.reason,
        detail=score.detail,
        artifact=str(evaluation_ref(one.address, Stage.SCORES)),
        conditions=conditions,
        scale=items.scale if items is not None else None,
        items=items.values if items is not None else None,
        clusters=items.clusters if items is not None else None,
    )


def unit_of(benchmark: str, metric: str) -> Unit:
    """Return the unit of a score by its key."""
    name = metric.rpartition("/")[2]
    if name == "sign_test":
        return "p_value"
    if "length" in name and "win_rate" not in metric:
        return "characters"
    if metric in _SHARES or metric.startswith(_OF_JUDGES):
        return "share"
    if benchmark == "mt_bench" or metric in _POINTS:
        return "points"
    return "percent"


def _is_better(benchmark: str, metric: str) -> bool:
    if metric in _DESCRIBE or metric.startswith(_OF_JUDGES):
        return False
    return benchmark not in ("self_judge", "contamination")


def _is_headline(benchmark: str, score: Score) -> bool:
    if benchmark == "nlp":
        return bool(score.detail and score.detail.get("headline"))
    return score.key in HEADLINES[benchmark]


def conditions_of(results: RunResults, one: Wanted) -> dict[str, Condition]:
    """Return what two runs must share for this benchmark's numbers to be comparable.

    From the manifests of everything its scores were made from: the settings, the contents of
    prompts, items and references, and who judged. What is being compared, the models under test and
    their answers, is no condition.
    """
    found: dict[str, Condition] = {}
    wholes = [one.address]
    if one.benchmark == "head_to_head":
        wholes += [f"{model}/head_to_head" for model in one.subject.split("-", 1)]
    for address in wholes:
        for stage in _MADE_BEFORE_SCORES:
            ref = evaluation_ref(address, stage)
            if results.exists(ref):
                found |= _of_artifact(ref, results.manifest(ref))
    return dict(sorted(found.items()))


def _of_artifact(ref: Ref, manifest: Manifest) -> dict[str, Condition]:
    found: dict[str, Condition] = {}
    for name, value in manifest.key.config.items():
        if name not in _PLACES:
            inner = value if isinstance(value, dict) else {"": value}
            found |= {f"{name}.{key}".rstrip("."): _leaf(leaf) for key, leaf in inner.items()}
    for name in ("shots", "lm_eval", "judge", "annotator"):
        if name in manifest.facts:
            found[name] = manifest.facts[name]
    for name, digest in manifest.key.inputs.items():
        if role := _role(ref, name):
            found[role] = short(digest)
    return found


def _role(ref: Ref, name: str) -> str | None:
    """Return what an input is to a benchmark; None for what is being compared."""
    source = parse_address(name)
    if source is None:
        return None if ref.address.startswith("human/") else name
    if is_model(source):
        return "judge weights" if ref.stage in _BY_A_JUDGE else None
    if source.stage is Stage.RANKED:
        return "human-ranked replies"
    reference = ref.stage is Stage.ANNOTATIONS and source.address != ref.address
    return "reference answers" if reference else None


def _leaf(value: object) -> Condition:
    return value if isinstance(value, str | int | float | bool | None) else repr(value)
