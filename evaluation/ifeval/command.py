"""`srlm-eval ifeval`: check recorded responses, whoever gave them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.errors import DataError
from core.progress import say
from evaluation.files.json_rows import read_rows
from evaluation.ifeval.data import FILE, load_prompts
from evaluation.ifeval.scores import Response, item, scores

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from evaluation.ifeval.data import IfevalPrompt

    _Row = tuple[int, dict[str, Any]]

_LEAST_EQUAL = 0.9  # of the prompts, for two files to be joined by position


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
    found = _join(responses, prompts)
    none = Response("", "no response in the file")
    items = [item(prompt, found.get(prompt.key, none)) for prompt in prompts]
    return {
        score.key: {
            "value": score.value,
            "low": score.low,
            "high": score.high,
            "stderr": score.stderr,
            "n": score.n,
            "missing": score.missing,
        }
        for score in scores(items)
    } | {"prompts": len(prompts)}


def _join(path: Path, prompts: list[IfevalPrompt]) -> dict[str, Response]:
    """Return responses by the key of their prompt."""
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
