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
    draws = sum(len(request.draws) for request in requests)
    size = min(rows, math.ceil(draws / workers))
    return [
        json.dumps({"decoding": asdict(decoding), "sample": [asdict(r) for r in part]})
        for part in _cut(alike, lambda request: len(request.draws), size)
    ]


def scoring_tasks(
    requests: Sequence[Continuation], *, rows: int, workers: int
) -> list[ScoringTask]:
    """Split requests into tasks of about `rows`; continuations of one context stay together.

    The beginning of the assistant's turn (`given`) is part of the context.
    """

    def context(at: int) -> str:
        return json.dumps([requests[at].context, requests[at].given])

    alike = sorted(range(len(requests)), key=context)
    questions = [list(places) for _, places in groupby(alike, key=context)]
    tasks = []
    for part in _cut(questions, len, min(rows, math.ceil(len(requests) / workers))):
        places = [at for question in part for at in question]
        task = {"score": [asdict(requests[at]) for at in places]}
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
        rows = engine.score([_continuation(one) for one in wanted["score"]])
    return succeeded(engine, rows)


def _continuation(plain: dict[str, Any]) -> Continuation:
    context = plain["context"]
    return Continuation(**plain | {"context": context if isinstance(context, str) else (*context,)})


def succeeded(engine: Engine, rows: Sequence[Any] = ()) -> str:
    """Return the outcome of a task with its rows, or of loading an engine without any."""
    return json.dumps({"engine": engine.fingerprint, "rows": rows})


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
    """Return a sampling task's draws; raise the worker's error if it failed."""
    return [Sampled(*row) for row in _read(outcome)["rows"]]


def scored_rows(outcome: str) -> list[Logprob]:
    """Return a scoring task's results in the order of its requests; raise the worker's error."""
    return [Logprob(*row) for row in _read(outcome)["rows"]]


def _read(outcome: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(outcome)
    if "error" in read:
        kind = getattr(errors, read["error"])
        raise kind.__new__(kind, read["message"])  # __init__ would build the message again
    return read


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
