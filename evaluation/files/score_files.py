"""Comparing two files of per-item scores: own rows, AlpacaEval, MT-Bench, or plain."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from core.errors import DataError
from core.paired import compare
from core.records import zero_is_a_draw
from evaluation.files.json_rows import number_or_missing, read_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ITEM_FIELDS = ("item", "key", "id")
_VALUE_FIELDS = ("score", "value")
_SCALES = {"preference": (0.0, 1.0)}  # of metrics whose scale their format says
_UNPARSED = -1.0  # FastChat's score of an unparsed reply
_EXPECTED = (
    "expected item scores (task, item, metrics), annotations (instruction, preference), MT-Bench "
    "judgments (question_id, turn, score), lm-eval samples (doc_id, metrics), or "
    '{"item", "score"} with optional "metric", "cluster"'
)


class ItemValue(NamedTuple):
    """One row's value of one metric; None if missing."""

    metric: str
    item: str
    cluster: str
    draw: str
    value: float | None


class ScoreFile(NamedTuple):
    """Per metric the values by item, their clusters, and the number of missing values."""

    values: dict[str, dict[str, float]]
    clusters: dict[str, dict[str, str]]
    missing: dict[str, int]


def report(path_a: Path, path_b: Path, *, seed: int = 0) -> dict[str, Any]:
    """Compare two score files: per metric the means, difference (a − b), interval, p-value, n.

    Metrics of only one file are listed, not compared. Items without a value in both files are left
    out and counted.

    Raises:
        DataError: a row cannot be read, an item is repeated, or the files share no item.
    """
    a, b = read_scores(path_a), read_scores(path_b)
    shared = [metric for metric in a.values if metric in b.values]
    metrics = {metric: _compared(metric, a, b, path_b, seed) for metric in shared}
    if not any(found["n"] for found in metrics.values()):
        what = (
            f"shares no item with {path_a}, so there is nothing to compare; its metrics are "
            f"{', '.join(b.values)}, those of the other {', '.join(a.values)}"
        )
        raise DataError(path_b, None, what)
    return {
        "a": str(path_a),
        "b": str(path_b),
        "metrics": metrics,
        "metrics_only_a": [metric for metric in a.values if metric not in b.values],
        "metrics_only_b": [metric for metric in b.values if metric not in a.values],
    }


def _compared(metric: str, a: ScoreFile, b: ScoreFile, path_b: Path, seed: int) -> dict[str, Any]:
    clusters = a.clusters[metric]
    for item, cluster in b.clusters[metric].items():
        if clusters.get(item, cluster) != cluster:
            what = (
                f"{metric} of {item!r}: cluster {cluster!r} here, {clusters[item]!r} in the other"
            )
            raise DataError(path_b, None, what)
    scale = _SCALES.get(metric)
    found = compare(a.values[metric], b.values[metric], clusters=clusters, scale=scale, seed=seed)
    return {
        "n": found.n,
        "n_clusters": found.n_clusters,
        "n_only_a": found.n_only_a,
        "n_only_b": found.n_only_b,
        "n_missing_a": a.missing[metric],
        "n_missing_b": b.missing[metric],
        "mean_a": found.mean_a,
        "mean_b": found.mean_b,
        "difference": found.difference,
        "low": found.interval.low if found.interval else None,
        "high": found.interval.high if found.interval else None,
        "p_value": found.p_value,
        "test": found.test,
    }


def read_scores(path: Path) -> ScoreFile:
    """Read a file of scores; several draws of one item are averaged.

    Raises:
        DataError: a row cannot be read, or an item is repeated.
    """
    draws: dict[tuple[str, str], list[float | None]] = {}
    clusters: dict[str, dict[str, str]] = {}
    first_line: dict[tuple[str, str, str], int] = {}
    for line, row in read_rows(path, "annotations", "judgments", "samples"):
        for found in _values(path, line, row):
            seen = first_line.setdefault((found.metric, found.item, found.draw), line)
            if seen != line:
                what = (
                    f"{found.metric} of {found.item!r} was given before, on line {seen}; "
                    "one file holds the scores of one model, each item once"
                )
                raise DataError(path, line, what)
            draws.setdefault((found.metric, found.item), []).append(found.value)
            clusters.setdefault(found.metric, {})[found.item] = found.cluster
    values: dict[str, dict[str, float]] = {metric: {} for metric in clusters}
    missing = dict.fromkeys(clusters, 0)
    for (metric, item), all_draws in draws.items():
        present = [value for value in all_draws if value is not None]
        if present:
            values[metric][item] = math.fsum(present) / len(present)
        else:
            missing[metric] += 1
    return ScoreFile(values, clusters, missing)


def _values(path: Path, line: int, row: dict[str, Any]) -> Iterator[ItemValue]:
    if isinstance(row.get("metrics"), dict):
        yield from _item_score(path, line, row)
    elif "instruction" in row and "preference" in row:
        yield _annotation(path, line, row)
    elif "question_id" in row and "turn" in row and "score" in row:
        yield _turn(path, line, row)
    elif isinstance(row.get("metrics"), list) and "doc_id" in row:
        yield from _sample(path, line, row)
    else:
        yield _plain(path, line, row)


def _item_score(path: Path, line: int, row: dict[str, Any]) -> Iterator[ItemValue]:
    task, item = str(row.get("task", "")), row.get("item", row.get("key"))
    if item is None:
        raise DataError(path, line, f"no item or key; {_EXPECTED}")
    for name in row["metrics"]:
        value = number_or_missing(path, line, row["metrics"], name)
        metric = f"{task}/{name}" if task else name
        yield ItemValue(metric, str(item), str(row.get("cluster", item)), "", value)


def _sample(path: Path, line: int, row: dict[str, Any]) -> Iterator[ItemValue]:
    """Yield what lm-eval logged of one item, by metric and filter ("exact_match,strict-match").

    Metrics that are no mean over items (perplexities, F1 of a task) log other things than a number.
    """
    item, taken = str(row["doc_id"]), row.get("filter", "none")
    for name in row["metrics"]:
        logged = row.get(name)
        if isinstance(logged, int | float | None):
            value = float(logged) if isinstance(logged, bool) else logged
            value = number_or_missing(path, line, {name: value}, name)
            yield ItemValue(f"{name},{taken}", item, item, "", value)


def _annotation(path: Path, line: int, row: dict[str, Any]) -> ItemValue:
    value = number_or_missing(path, line, row, "preference")
    if value is not None:
        if value != 0 and not 1 <= value <= 2:  # noqa: PLR2004 - the schema's range
            raise DataError(path, line, f"preference {value:g} is not in 1..2 (or 0 for a draw)")
        value = zero_is_a_draw(value) - 1
    item = str(row["instruction"])
    return ItemValue("preference", item, item, "", value)


def _turn(path: Path, line: int, row: dict[str, Any]) -> ItemValue:
    value = number_or_missing(path, line, row, "score")
    question, draw = str(row["question_id"]), str(row.get("draw", ""))
    value = None if value == _UNPARSED else value
    return ItemValue("score", f"{question}/{row['turn']}", question, draw, value)


def _plain(path: Path, line: int, row: dict[str, Any]) -> ItemValue:
    item = next((row[field] for field in _ITEM_FIELDS if row.get(field) is not None), None)
    field = next((field for field in _VALUE_FIELDS if field in row), None)
    if item is None or field is None:
        raise DataError(path, line, f"no {'item' if item is None else 'score'}; {_EXPECTED}")
    value = number_or_missing(path, line, row, field)
    metric, cluster = str(row.get("metric", "score")), row.get("cluster")
    return ItemValue(metric, str(item), str(item if cluster is None else cluster), "", value)
