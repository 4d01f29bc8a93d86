"""Requests made from the OpenAPI descriptions of explorer and study: none ends in a 5xx."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

from evaluation.human.prepare import StudySize, prepare_comparison, prepare_ranking
from evaluation.human.server.server import open_study, study_app
from evaluation.human.study import read_links
from tests.evaluation.human.studies import compared_run, ranked_run
from tests.web.explorer.test_hostile import hostile_run
from web.explorer.app import explorer_app
from web.explorer.source import Source

if TYPE_CHECKING:
    from schemathesis.generation import GenerationMode

schemathesis: Any = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
pytestmark = pytest.mark.slow

HERE = {"host": "127.0.0.1"}
REQUESTS = 12  # per address and mode
QUIET = settings(
    max_examples=REQUESTS,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
MODES = ["positive", "negative"]  # as the description allows; as it does not


def fuzz(app: FastAPI, mode: GenerationMode, known: dict[str, list[Any]]) -> Counter[int]:
    """Send requests to every address; return how often each status came back.

    Half of them have values of this run where the description only says "text".
    """
    statuses: Counter[int] = Counter()
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, headers=HERE)
    for found in schema.get_all_operations():
        operation = found.ok()

        @QUIET
        @given(case=operation.as_strategy(generation_mode=mode), data=st.data())
        def answered(case: Any, data: st.DataObject) -> None:
            for place in (case.path_parameters, case.query, case.body):
                given_here: dict[str, Any] = place if isinstance(place, dict) else {}
                for name in sorted(known.keys() & given_here.keys()):
                    if data.draw(st.booleans()):
                        given_here[name] = data.draw(st.sampled_from(known[name]))
            status = case.call(headers=HERE).status_code
            statuses[status] += 1
            assert status < 500

        # An address without anything to violate has no request that does.
        with suppress(Unsatisfiable):
            answered()
    return statuses


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> Any:
    from schemathesis.generation import GenerationMode

    return GenerationMode(request.param)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Source]:
    with Source(hostile_run(tmp_path_factory.mktemp("runs") / "hostile")) as source:
        yield source


def test_no_request_breaks_the_explorer(hostile: Source, mode: GenerationMode) -> None:
    rows = hostile.index.query("SELECT key FROM rows")
    addresses = list(hostile.run.store.artifacts())
    for ref in hostile.run.store.artifacts().values():
        rows += hostile.facts(ref, "key, prompt").rows
    known: dict[str, list[Any]] = {
        "k": [2],
        "key": sorted({str(key) for row in rows for key in row}),
        "artifact": addresses,
        "address": addresses,
        "task": ["piqa"],
        "q": ["script", '"evil', "a" * 300],
        "model": ["M2-M1", "M1"],
        "raw": [True],
    }
    statuses = fuzz(explorer_app(hostile), mode, known)
    assert statuses[200] > 20 and statuses[404] + statuses[422] > 20


@pytest.mark.parametrize("kind", ["comparison", "ranking"])
def test_no_request_breaks_a_study(tmp_path: Path, mode: GenerationMode, kind: str) -> None:
    if kind == "comparison":
        folder = prepare_comparison(compared_run(tmp_path / "run"), "M3", "sft", StudySize(4, 1, 0))
    else:
        run = ranked_run(tmp_path / "run", {"p0": ["one", "two"], "p1": ["three", "four"]})
        folder = prepare_ranking(run, 2, StudySize(2, 1, 0))
    known: dict[str, list[Any]] = {
        "token": list(read_links(folder).values()),
        "item": [0, 1],
        "at": [0, 1],
    }
    with open_study(folder) as live:
        statuses = fuzz(study_app(live), mode, known)
    assert statuses.total() > 5 * REQUESTS and len(statuses) > 1
