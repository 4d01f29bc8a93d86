"""Small scores files for the tests of the gate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reports.scores import Metric, ScoresFile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def right(hits: int, n: int, *, start: int = 0) -> dict[str, float]:
    """Items in percent: `hits` of `n` are right, from the place `start` on."""
    return {f"i{at}": 100.0 * (start <= at < start + hits) for at in range(n)}


def metric(name: str = "M1/nlp/piqa/acc", items: Any = None, **more: Any) -> Metric:
    """A metric in percent with its items; benchmark, subject and part come from the id."""
    subject, benchmark, *rest = name.split("/")
    if subject == "head_to_head":
        subject, benchmark = benchmark, subject
    values = right(5, 10) if items is None else items
    about = {
        "id": name, "benchmark": benchmark, "subject": subject, "metric": rest[-1],
        "part": rest[0] if len(rest) > 1 else "", "unit": "percent", "better": "higher",
        "headline": True, "value": sum(values.values()) / len(values) if values else None,
        "n": len(values), "scale": (0.0, 100.0), "items": values,
        "conditions": {"judge": "gpt-4"},
    }  # fmt: skip
    return Metric.model_validate(about | more)


def scores(*metrics: Metric, run: str = "run") -> ScoresFile:
    """A scores file."""
    return ScoresFile(run=run, code_version="0", metrics=list(metrics))


def graded(
    values: Sequence[float], clusters: Mapping[str, str] | None = None, **more: Any
) -> Metric:
    """An MT-Bench metric with these ratings."""
    items = {f"q{at}": value for at, value in enumerate(values)}
    return metric(
        "M1/mt_bench/overall", items, unit="points", scale=(1.0, 10.0), clusters=clusters, **more
    )
