"""Tasks sent to the workers of a pool, and their outcomes, as JSON text."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, astuple
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from core import errors
from engines.engine import Continuation, Decoding, Logprob, Request, Sampled, plain_prompt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from engines.engine import Engine


class ScoringTask(NamedTuple):
    """A task, and the places of its results in the list of all requests."""

    places: list[int]
    task: str


def sampling_tasks(
    requests: Sequence[Request], decoding: Decoding, *, rows: int, workers: int
) -> list[str]:
    """Split requests into tasks of at most `rows` draws, at least one task per worker if possible.

    A request is never split: its draws share one prefill. Prompts with a common prefix (one rubric,
    one instruction) are kept together, so that a worker computes the prefix once.
    """
    alike = sorted(requests, key=lambda request: json.dumps(plain_prompt(request.messages)))
    size = _task_size(sum(len(request.draws) for request in requests), rows, workers)
    return [
        json.dumps({"decoding": asdict(decoding), "sample": [asdict(r) for r in part]})
        for part in _cut(alike, lambda request: len(request.draws), size)
    ]


def scoring_tasks(
    requests: Sequence[Continuation], *, rows: int, workers: int
) -> list[ScoringTask]:
    """Split requests into tasks of about `rows`; continuations of one context stay together."""

    def context(at: int) -> str:
        return json.dumps(requests[at].context)

    alike = sorted(range(len(requests)), key=context)
    questions = [list(places) for _, places in groupby(alike, key=context)]
    tasks = []
    for part in _cut(questions, len, _task_size(len(requests), rows, workers)):
        places = [at for question in part for at in question]
        task = {"score": [[requests[at].context, requests[at].continuation] for at in places]}
        tasks.append(ScoringTask(places, json.dumps(task)))
    return tasks


def perform(engine: Engine, task: str) -> str:
    """Return a task's outcome: its rows and the engine's fingerprint."""
    wanted = json.loads(task)
    rows: list[Any]
    if "sample" in wanted:
        plain = wanted["decoding"]
        decoding = Decoding(**plain | {"stop": tuple(plain["stop"])})
        requests = [Request(**r | {"draws": tuple(r["draws"])}) for r in wanted["sample"]]
        rows = [astuple(sampled) for sampled in engine.sample(requests, decoding)]
    else:
        rows = engine.score([Continuation(_hashable(c), text) for c, text in wanted["score"]])
    return json.dumps({"engine": engine.fingerprint, "rows": rows})


def opened(engine: Engine) -> str:
    """Return the outcome of loading an engine."""
    return json.dumps({"engine": engine.fingerprint, "rows": []})


def failed(error: errors.SrlmError) -> str:
    """Return an expected error as an outcome, so that the worker survives it."""
    return json.dumps({"error": type(error).__name__, "message": str(error)})


def fingerprint(outcome: str) -> str:
    """Return the fingerprint of the engine that made an outcome.

    Raises:
        SrlmError: the worker's error, of its original class.
    """
    return str(_read(outcome)["engine"])


def sampled_rows(outcome: str) -> list[Sampled]:
    """Return a sampling task's draws.

    Raises:
        SrlmError: the worker's error, of its original class.
    """
    return [Sampled(*row) for row in _read(outcome)["rows"]]


def scored_rows(outcome: str) -> list[Logprob]:
    """Return a scoring task's results in the order of its requests.

    Raises:
        SrlmError: the worker's error, of its original class.
    """
    return [Logprob(*row) for row in _read(outcome)["rows"]]


def _read(outcome: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(outcome)
    if "error" in read:
        kind = getattr(errors, read["error"])
        raise kind.__new__(kind, read["message"])  # __init__ would build the message again
    return read


def _hashable(context: Any) -> Any:
    return context if isinstance(context, str) else tuple(context)


def _task_size(total: int, rows: int, workers: int) -> int:
    return min(rows, math.ceil(total / workers))


def _cut(items: Iterable[Any], weight: Callable[[Any], int], size: int) -> list[list[Any]]:
    """Split in order into parts of at most `size`; a heavier item is a part of its own."""
    parts: list[list[Any]] = []
    room = 0
    for item in items:
        if not parts or weight(item) > room:
            parts.append([])
            room = size
        parts[-1].append(item)
        room -= weight(item)
    return parts
