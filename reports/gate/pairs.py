"""Pairing the metrics of two scores files, with the reasons for those not comparable."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from core.errors import ConfigError
from reports.gate.compare import differing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reports.scores import Metric, ScoresFile

NOTHING = "comparison"
MAX_LOST = 0.05


class Pair(NamedTuple):
    """A metric of the baseline, the same of the candidate, and the items that both have."""

    baseline: Metric
    candidate: Metric
    shared: tuple[str, ...]


class Problem(NamedTuple):
    """A metric that cannot be compared, and why; `id` is "comparison" if it is about all."""

    id: str
    reason: str
    benchmark: str = ""


class Pairing(NamedTuple):
    """Comparable metrics, problems, and metrics (ids) that only the candidate has."""

    pairs: tuple[Pair, ...]
    problems: tuple[Problem, ...]
    new: tuple[str, ...]


def matches(pattern: str, metric: Metric) -> bool:
    """Whether a pattern names a metric: its benchmark, or its id from the start, or as a glob.

    "nlp" is the benchmark, "M1" and "M1/nlp" begin ids (whole parts: "M1" is not "M10"),
    "M*/nlp/*/acc_norm" is a glob in which * crosses slashes.
    """
    if metric.id == pattern or metric.id.startswith(pattern.rstrip("/") + "/"):
        return True
    return any(fnmatchcase(name, pattern) for name in (metric.benchmark, metric.id))


def pair_up(
    baseline: ScoresFile,
    candidate: ScoresFile,
    *,
    only: Sequence[str],
    exclude: Sequence[str],
    max_lost: float = MAX_LOST,
) -> Pairing:
    """Pair the metrics that are means over items and have a better direction.

    One that lost more than a share `max_lost` of the baseline's items, and more than one, is a
    problem: what the candidate lost may be what it does badly.
    """
    before = _chosen(baseline.metrics, only, exclude)
    after = {metric.id: metric for metric in candidate.metrics}
    pairs, problems = [], []
    for metric in before:
        found = _pair(metric, after.get(metric.id), candidate, max_lost)
        if isinstance(found, Problem):
            problems.append(found)
        else:
            pairs.append(found)
    if not before:
        reason = (
            f"the baseline {baseline.run!r} has no metric with items"
            + (" that --only and --exclude leave" if only or exclude else "")
            + ", so the candidate cannot be compared"
        )
        problems.append(Problem(NOTHING, reason))
    known = {metric.id for metric in before}
    new = [m.id for m in _chosen(candidate.metrics, only, exclude) if m.id not in known]
    return Pairing(tuple(pairs), tuple(problems), tuple(new))


def require_known(option: str, patterns: Iterable[str], metrics: Iterable[Metric]) -> None:
    """Reject patterns that match nothing: a misspelt one would let everything pass.

    Raises:
        ConfigError: names option and pattern.
    """
    among = list(metrics)
    for pattern in patterns:
        if not any(matches(pattern, metric) for metric in among):
            benchmarks = ", ".join(sorted({metric.benchmark for metric in among})) or "none"
            message = (
                f"{option} {pattern}: no metric matches; expected a benchmark ({benchmarks}), the "
                "beginning of an id such as M1/nlp, or a glob such as 'M*/nlp/*/acc_norm'"
            )
            raise ConfigError(message)


def _chosen(metrics: Iterable[Metric], only: Sequence[str], exclude: Sequence[str]) -> list[Metric]:
    return [
        metric
        for metric in metrics
        if metric.items
        and metric.better == "higher"
        and (any(matches(pattern, metric) for pattern in only) if only else _is_default(metric))
        and not any(matches(pattern, metric) for pattern in exclude)
    ]


def _is_default(metric: Metric) -> bool:
    """Whether a metric is tested by default: of an NLP task only the paper's metric.

    Testing acc beside acc_norm would double the family, and every further metric costs power.
    Human votes are tested only with --only: a candidate without a study is not a failure.
    """
    return metric.benchmark != "human" and (metric.headline or metric.benchmark != "nlp")


def _pair(
    before: Metric, after: Metric | None, candidate: ScoresFile, max_lost: float
) -> Pair | Problem:
    if after is None or not after.items:
        return Problem(before.id, _why_missing(before, after, candidate), before.benchmark)
    changed = differing(before, after)
    for name in ("unit", "scale", "better"):
        was, now = getattr(before, name), getattr(after, name)
        if was != now:
            changed.append(f"{name} was {was}, is {now}")
    shared = tuple(item for item in before.items or {} if item in after.items)
    if before.clusters or after.clusters:
        moved = [item for item in shared if cluster_of(before, item) != cluster_of(after, item)]
        changed += [
            f"item {item} belonged to {cluster_of(before, item)}, belongs to "
            f"{cluster_of(after, item)} ({len(moved)} such)"
            for item in moved[:1]
        ]
    if changed:
        return Problem(before.id, f"not comparable: {'; '.join(changed)}", before.benchmark)
    if not shared:
        counts = f"{len(before.items or {})} and {len(after.items)}"
        reason = f"not comparable: no item is in both files ({counts} items)"
        return Problem(before.id, reason, before.benchmark)
    whole = len(before.items or {})
    lost = whole - len(shared)
    if lost > max(1, max_lost * whole):
        reason = (
            f"the candidate has no value for {lost} of the baseline's {whole} items (unreadable, "
            f"failed or not asked), more than {max_lost:.0%} of them (--max-lost)"
        )
        return Problem(before.id, reason, before.benchmark)
    return Pair(before, after, shared)


def cluster_of(metric: Metric, item: str) -> str:
    """Return the cluster of an item; an item without one is its own."""
    return (metric.clusters or {}).get(item, item)


def _why_missing(before: Metric, after: Metric | None, candidate: ScoresFile) -> str:
    """Return why the candidate has no such metric, by its own reason if it gives one."""
    if after is not None:
        return f"missing in the candidate: {after.reason or 'its file has no items'}"
    where = (before.benchmark, before.subject, before.part)
    same = (m for m in candidate.metrics if (m.benchmark, m.subject, m.part) == where)
    reasons = (metric.reason for metric in same if metric.value is None and metric.reason)
    return f"missing in the candidate: {next(reasons, 'its file does not name it')}"
