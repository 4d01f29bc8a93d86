"""Real item results to simulate the gate on: from scores files, or from recorded evaluations."""

from __future__ import annotations

import gzip
import json
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from core.errors import ConfigError, DataError
from core.jsonl import read_objects
from reports.scores import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from reports.scores import ScoresFile

_ALPACA_EVAL = (("claude-2", "humpback-llama2-70b"), ("alpaca-7b", "text_davinci_001"))
_MT_BENCH = {
    "gpt-4_single.mambainllama.jsonl.gz": (
        ("mamba_0_5_dpo_ep1", "mamba_0_5_dpo_ep3"),
        ("mamba_0_75_dpo_ep1", "mamba_0_75_dpo_ep3"),
        ("mamba_0_875_dpo_ep1", "mamba_0_875_dpo_ep3"),
    ),
    "gpt-4_single.mistral-orpo.jsonl": (("mistral-orpo-capybara", "mistral-orpo-mix"),),
}
_PERCENT, _POINTS = (0.0, 100.0), (1.0, 10.0)
_ANNOTATIONS, _ITEMS = ".annotations.json.gz", ".items.jsonl"
_EVEN, _DRAW = 50.0, 1.5  # AlpacaEval writes a draw also as 0


class Member(NamedTuple):
    """A metric of the simulated family: one real result vector, or two over the same items."""

    metric: Metric
    second: dict[str, float] | None = None

    @property
    def first(self) -> dict[str, float]:
        """The values of the metric itself."""
        return self.metric.items or {}


def from_scores(files: Sequence[ScoresFile]) -> list[Member]:
    """Pair each metric with items over files that follow each other; alone where only one has it.

    Raises:
        ConfigError: no file has a metric that the gate would test.
    """
    gated = [{m.id: m for m in file.metrics if m.items and m.better == "higher"} for file in files]
    found, paired = [], set()
    for at, (before, after) in enumerate(pairwise(gated), start=1):
        shared = [name for name in before if name in after]
        paired.update(shared)
        for name in shared:
            again = {} if len(files) == 2 else {"id": f"{name} ({at}, {at + 1})"}  # noqa: PLR2004 - one pair
            found.append(_restricted(before[name].model_copy(update=again), after[name].items))
    alone = {name: metric for metrics in gated for name, metric in metrics.items()}
    found += [Member(metric) for name, metric in alone.items() if name not in paired]
    if not found:
        message = "--scores: no metric with items that the gate would test"
        raise ConfigError(message)
    return found


def from_shared(folder: Path) -> list[Member]:
    """Build a family from the recorded AlpacaEval and MT-Bench results in `folder`/data.

    AlpacaEval has two pairs of models, each as preferences and as wins (preference above one
    half: binary); MT-Bench has four pairs, each question's two turns being one cluster.

    Raises:
        DataError: a file is missing or malformed.
    """
    data, found = folder / "data", []
    for pair in _ALPACA_EVAL:
        first, second = (_preferences(data / "alpaca_eval" / f"{m}{_ANNOTATIONS}") for m in pair)
        for name, read in (("win_rate", dict), ("wins", _wins)):
            metric = _metric("alpaca_eval", "/".join(pair), name, read(first))
            found.append(_restricted(metric, read(second)))
    for file, pairs in _MT_BENCH.items():
        ratings = _ratings(data / "mt_bench" / file)
        for pair in pairs:
            metric = _metric("mt_bench", "/".join(pair), "overall", ratings[pair[0]])
            found.append(_restricted(metric, ratings[pair[1]]))
    return found


def from_items(folder: Path) -> list[Member]:
    """Build members from NLP item rows: each of a task's metrics alone, and acc with acc_norm.

    Two readings of the same answers (acc, acc_norm) are two real vectors over the same items.

    Raises:
        DataError: there is no such file, or one is malformed.
    """
    found = []
    for path in sorted(folder.glob(f"*{_ITEMS}")):
        task = path.name.removesuffix(_ITEMS)
        by_metric: dict[str, dict[str, float]] = {}
        for _, row in read_objects(path):
            for name, value in row["metrics"].items():
                by_metric.setdefault(name, {})[row["key"]] = 100 * value
        found += [Member(_metric("nlp", task, name, v)) for name, v in by_metric.items()]
        if {"acc", "acc_norm"} <= by_metric.keys():
            metric = _metric("nlp", task, "acc/acc_norm", by_metric["acc"])
            found.append(_restricted(metric, by_metric["acc_norm"]))
    if not found:
        raise DataError(folder, None, f"no *{_ITEMS} with rows in it")
    return found


def _restricted(metric: Metric, other: Mapping[str, float] | None) -> Member:
    """Return two vectors on the items that both have."""
    first, second = metric.items or {}, other or {}
    shared = {key: value for key, value in first.items() if key in second}
    return Member(metric.model_copy(update={"items": shared}), {key: second[key] for key in shared})


def _metric(benchmark: str, subject: str, name: str, items: dict[str, float]) -> Metric:
    judged = benchmark == "mt_bench"
    return Metric(
        id=f"{subject}/{benchmark}/{name}",
        benchmark=benchmark,
        subject=subject,
        metric=name,
        unit="points" if judged else "percent",
        better="higher",
        headline=True,
        value=sum(items.values()) / len(items),
        n=len(items),
        scale=_POINTS if judged else _PERCENT,
        items=items,
        clusters={key: key.split("/")[0] for key in items} if judged else None,
    )


def _wins(preferences: Mapping[str, float]) -> dict[str, float]:
    return {key: 100.0 * (value > _EVEN) for key, value in preferences.items()}


def _preferences(path: Path) -> dict[str, float]:
    """Return 100·(preference − 1) by instruction; rows without a preference are left out."""
    rows = json.loads(_text(path))
    graded = {row["instruction"]: row["preference"] for row in rows}
    return {key: 100 * ((p or _DRAW) - 1) for key, p in graded.items() if p is not None}


def _ratings(path: Path) -> dict[str, dict[str, float]]:
    """Return each model's ratings by "question/turn"; failed ones (−1) are left out."""
    found: dict[str, dict[str, float]] = {}
    for line in _text(path).splitlines():
        row = json.loads(line)
        if row["score"] >= 0:
            key = f"{row['question_id']}/{row['turn']}"
            found.setdefault(row["model"], {})[key] = float(row["score"])
    return found


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(path, None, f"{error.strerror}; expected recorded results") from None
    return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
