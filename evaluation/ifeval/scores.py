"""IFEval's four accuracies: by prompt and by instruction, strict and loose.

Names are lm-eval's. A prompt counts if all of its instructions are followed; its instructions are
one cluster, since one response decides about all of them.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple

from core.benchmarks import BENCHMARKS, Items
from core.errors import DataError
from core.intervals import clustered_stderr, mean_interval
from core.progress import say
from core.records import ItemScore, Score
from evaluation.files.json_rows import read_rows
from evaluation.ifeval.data import FILE, load_prompts
from judges.verifiers.ifeval import check

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from judges.verifiers.ifeval import IfevalPrompt

    _Row = tuple[int, dict[str, Any]]

_LEAST_EQUAL = 0.9  # of the prompts, for two files to be joined by position
_NOTHING = Items({}, (0.0, 100.0))


class Response(NamedTuple):
    """A response to a prompt; `missing` says why there is none."""

    text: str
    missing: str | None = None


def item(prompt: IfevalPrompt, response: Response) -> ItemScore:
    """Check one response. Without a response there are no metrics, and `detail` has the reason.

    `detail["prediction"]` has a value per instruction: "strict", "loose" (followed in the loose
    reading only) or "not followed".
    """
    detail: dict[str, Any] = {"prompt": prompt.text, "text": response.text}
    if response.missing is not None:
        detail["missing"] = response.missing
        return ItemScore(prompt.key, "ifeval", prompt.key, {}, detail)
    followed = check(prompt.text, prompt.instructions, prompt.arguments, response.text)
    readings = zip(followed.strict, followed.loose, strict=True)
    found = [
        "strict" if strict else "loose" if loose else "not followed" for strict, loose in readings
    ]
    labels = [
        f"{number} {name} {json.dumps(given)}"
        for number, (name, given) in enumerate(
            zip(prompt.instructions, prompt.arguments, strict=True), start=1
        )
    ]
    detail["prediction"] = dict(zip(labels, found, strict=True))
    metrics = {
        "prompt_level_strict_acc": float(all(followed.strict)),
        "prompt_level_loose_acc": float(all(followed.loose)),
    }
    return ItemScore(prompt.key, "ifeval", prompt.key, metrics, detail)


def scores(items: Sequence[ItemScore]) -> list[Score]:
    """Return the four accuracies in percent; `detail` counts followed instructions by kind.

    Standard error and interval are clustered by prompt.
    """
    facts = BENCHMARKS["ifeval"]
    measured = facts.items(items) if facts.items is not None else {}
    missing = sum(not one.metrics for one in items)
    found = []
    for name in facts.headlines:
        values, _, clusters = measured.get(name, _NOTHING)
        if values:
            observations = [clusters[key] if clusters else key for key in values]
            kinds = _by_kind(items, loose="loose" in name) if clusters else None
            found.append(_score(name, [*values.values()], observations, missing, kinds))
        else:
            found.append(Score(name, None, 0, missing, reason="no responses"))
    return found


def _score(
    name: str,
    values: list[float],
    observations: list[str],
    missing: int,
    detail: dict[str, Any] | None,
) -> Score:
    mean, error = math.fsum(values) / len(values), clustered_stderr(values, observations)
    low, high = mean_interval(values, observations, scale=_NOTHING.scale) or (None, None)
    return Score(name, mean, len(values), missing, low, high, error, detail=detail)


def _by_kind(items: Sequence[ItemScore], *, loose: bool) -> dict[str, Any]:
    """Return, by kind of instruction, how many are followed of how many."""
    found: dict[str, list[int]] = {}
    for one in items:
        for label, reading in one.detail.get("prediction", {}).items():
            counts = found.setdefault(label.split()[1].partition(":")[0], [0, 0])
            counts[0] += reading == "strict" or (loose and reading == "loose")
            counts[1] += 1
    return {kind: {"followed": followed, "of": n} for kind, (followed, n) in sorted(found.items())}


def report(responses: Path, data: str | None, limit: int | None) -> dict[str, Any]:
    """Return the four accuracies in percent with interval, n and what is missing.

    Args:
        responses: JSONL with "response", and "key" or "prompt", as google-research records them.
        data: where the prompts come from; None: a file input_data.jsonl beside the responses, else
            the hub.
        limit: only the first prompts; None for all.

    Raises:
        ConfigError, DataError: a file cannot be used; the message names the line.
    """
    beside = responses.parent / FILE
    prompts = load_prompts(data or (str(beside) if beside.is_file() else "hub"), limit)
    given = _join(responses, prompts)
    none = Response("", "no response in the file")
    items = [item(prompt, given.get(prompt.key, none)) for prompt in prompts]
    fields = ("value", "low", "high", "stderr", "n", "missing")
    found = {s.key: {field: getattr(s, field) for field in fields} for s in scores(items)}
    return found | {"prompts": len(prompts)}


def _join(path: Path, prompts: list[IfevalPrompt]) -> dict[str, Response]:
    rows = list(read_rows(path))
    for line, row in rows:
        if not isinstance(row.get("response"), str):
            raise DataError(path, line, 'expected a text in "response"')
    return _by_position(path, rows, prompts) or _by_name(path, rows, prompts)


def _by_position(
    path: Path, rows: Sequence[_Row], prompts: Sequence[IfevalPrompt]
) -> dict[str, Response]:
    """Join a file with a row per prompt whose texts nearly all agree; {} for any other.

    Recorded files may hold prompts that were edited since.
    """
    if len(rows) != len(prompts):
        return {}
    pairs = list(zip(rows, prompts, strict=True))
    differ = [line for (line, row), prompt in pairs if row.get("prompt") != prompt.text]
    if len(rows) - len(differ) < _LEAST_EQUAL * len(rows):
        return {}
    for line in differ:
        say(f"{path}:{line}: the prompt differs from the data's; joined by position")
    return {prompt.key: Response(row["response"]) for (_, row), prompt in pairs}


def _by_name(
    path: Path, rows: Sequence[_Row], prompts: Sequence[IfevalPrompt]
) -> dict[str, Response]:
    """Join rows by their key, else by their prompt's text."""
    keys = {prompt.text: prompt.key for prompt in prompts} | {p.key: p.key for p in prompts}
    found: dict[str, Response] = {}
    for line, row in rows:
        key = keys.get(str(row.get("key", ""))) or keys.get(str(row.get("prompt", "")))
        if key in found:
            raise DataError(path, line, f"a second response to the prompt {key}")
        if key is not None:
            found[key] = Response(row["response"])
    if not found:
        raise DataError(path, None, "no row has the key or the prompt of an IFEval item")
    if unused := len(rows) - len(found):
        say(f"{path}: {unused} responses belong to no prompt that is evaluated")
    return found
