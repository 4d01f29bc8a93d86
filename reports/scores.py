"""scores.json: every number of a run with the items behind it, in one documented file.

The file is enough to plot, to compare two runs and to gate on, without the run's folder. Its JSON
schema is `ScoresFile.model_json_schema()`, written to docs/scores.schema.json.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import DataError
from core.jsonl import parse

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = "srlm-scores"
VERSION = 1


class Metric(BaseModel):
    """One number: where it comes from, what it rests on, and what it may be compared with."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    id: str
    """Unique in the file: "M1/nlp/arc_easy/acc_norm"."""
    benchmark: str
    """Its name: head_to_head, alpaca_eval, nlp, ... (see core/benchmarks.py)."""
    subject: str
    """Whose number: "M1", a matchup "M2-M1", or an iteration "iter2"."""
    part: str = ""
    """What of the benchmark, where it has parts: an NLP task."""
    metric: str
    """The score's key: "win_rate", "acc_norm", "overall"."""
    unit: Literal["percent", "points", "characters", "share", "p_value", "count"]
    """percent 0..100; points of a judge's scale; share 0..1 or correlation −1..1."""
    better: Literal["higher", "lower", ""]
    """Which direction is an improvement; empty for numbers that only describe."""
    headline: bool
    """Whether the paper's tables show it."""
    value: float | None
    """None: nothing was measured, `reason` says why."""
    low: float | None = None
    """Lower end of the 95 % interval."""
    high: float | None = None
    """Upper end."""
    stderr: float | None = None
    """Standard error, where the benchmark defines one."""
    n: int
    """Items behind the value."""
    missing: int = 0
    """Items left out: unparsed, failed, absent."""
    reason: str | None = None
    """Why there is no value."""
    detail: dict[str, Any] | None = None
    """Further readings and counts of the same number."""
    artifact: str | None = None
    """Address of the artifact in the run: "eval/M1/alpaca_eval/scores"; None if it was not made."""
    conditions: dict[str, str | int | float | bool | None] = {}
    """What must be equal for values of two runs to be comparable: judge, prompts, shots, ..."""
    scale: tuple[float, float] | None = None
    """Least and greatest possible value of an item, for metrics with `items`."""
    items: dict[str, float] | None = None
    """Value of each item in the metric's own unit; None for metrics that are no mean over items."""
    clusters: dict[str, str] | None = None
    """Which items are one observation (two turns: their question); None: each is its own."""


class ScoresFile(BaseModel):
    """A run's scores."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    format: Literal["srlm-scores"] = "srlm-scores"
    """What file this is."""
    version: Literal[1] = 1
    """Version of this schema; a file of another version is refused."""
    run: str
    """The run's name."""
    code_version: str
    """Version of srlm that wrote the file."""
    metrics: list[Metric]
    """All numbers, in the order of the tables."""


def read_scores(path: Path) -> ScoresFile:
    """Read a scores file.

    Raises:
        DataError: it is not there, not such a file, or of another version.
    """
    try:
        raw = parse(path.read_bytes(), path)
    except OSError as error:
        raise DataError(path, None, f"{error.strerror}; expected a scores.json") from None
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        what = f'"format" is not "{FORMAT}"; write one with `srlm-report build --run RUN`'
        raise DataError(path, None, what)
    if raw.get("version") != VERSION:
        what = f"version {raw.get('version')!r} of the format; this srlm reads version {VERSION}"
        raise DataError(path, None, what)
    try:
        return ScoresFile.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(path, None, f"{where}: {first['msg']}") from None


def to_json(scores: ScoresFile) -> str:
    """Return the file's text: same scores, same bytes."""
    tree = scores.model_dump(mode="json", exclude_defaults=False)
    return json.dumps(tree, ensure_ascii=False, separators=(",", ":"), allow_nan=False) + "\n"
