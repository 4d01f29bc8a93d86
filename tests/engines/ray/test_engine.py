from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.config import EngineSection, RaySection
from core.errors import ConfigError, ModelError
from core.records import user
from engines.engine import Continuation, Decoding, Engine, Request, Sampled
from engines.hf.engine import HFEngine
from engines.ray.engine import RayEngine, connect
from tests.workers import engine_workers, kill_a_worker, wait_until_gone

SECTION = EngineSection(device="cpu", dtype="float32", ray=RaySection(workers=2, rows_per_task=4))
ONE_WORKER = EngineSection(device="cpu", dtype="float32", ray=RaySection(workers=1))
WARM = Decoding(temperature=0.7, top_p=0.9, max_new_tokens=40, seed=3)


@pytest.fixture(scope="module")
def pool(tiny: Path) -> Iterator[RayEngine]:
    """Two workers over the tiny model, on a Ray of this process."""
    engine = RayEngine(tiny, SECTION)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def alone(tiny: Path) -> HFEngine:
    return HFEngine(tiny, SECTION)


def requests(count: int = 12) -> list[Request]:
    return [Request(f"k{at}", user(f"fox {at} " * (1 + at % 5)), (0, 1)) for at in range(count)]


def by_draw(rows: list[Sampled]) -> dict[tuple[str, int], Sampled]:
    times = Counter((row.key, row.draw) for row in rows)
    assert set(times.values()) == {1}, "a draw came twice"
    return {(row.key, row.draw): row for row in rows}


def test_without_ray_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as Python marks what cannot be imported
    with pytest.raises(ConfigError, match=r"Ray is not installed.*pip install -e '\.\[ray\]'"):
        connect(RaySection(workers=2))


@pytest.mark.slow
def test_two_workers_draw_what_one_process_draws(pool: RayEngine, alone: HFEngine) -> None:
    assert isinstance(pool, Engine)
    assert pool.fingerprint == alone.fingerprint
    want = by_draw(list(alone.sample(requests(), WARM)))
    assert by_draw(list(pool.sample(requests(), WARM))) == want
    assert list(pool.sample([], WARM)) == []


@pytest.mark.slow
def test_scores_are_those_of_one_process_in_the_order_asked(
    pool: RayEngine, alone: HFEngine
) -> None:
    asked = [Continuation(f"The fox {at % 3}", f" jumps {at}") for at in range(12)]
    for ours, theirs in zip(pool.score(asked), alone.score(asked), strict=True):
        assert ours.total == pytest.approx(theirs.total, abs=1e-4)  # float32 in other batches
        assert (ours.tokens, ours.greedy) == (theirs.tokens, theirs.greedy)


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_loses_and_repeats_nothing(
    pool: RayEngine, alone: HFEngine
) -> None:
    want = by_draw(list(alone.sample(requests(30), WARM)))
    rows = []
    killed = 0
    for row in pool.sample(requests(30), WARM):
        rows.append(row)
        if not killed:
            killed = kill_a_worker(os.getpid())
    assert by_draw(rows) == want
    list(pool.sample(requests(4), WARM))
    assert killed not in engine_workers(os.getpid())


@pytest.mark.slow
def test_a_call_that_is_given_up_does_not_disturb_the_next(
    pool: RayEngine, alone: HFEngine
) -> None:
    abandoned = pool.sample(requests(30), WARM)
    next(abandoned)
    abandoned.close()  # type: ignore[attr-defined]
    want = by_draw(list(alone.sample(requests(6), WARM)))
    assert by_draw(list(pool.sample(requests(6), WARM))) == want


@pytest.mark.slow
def test_opening_another_pool_closes_the_first_which_opens_again_when_used(
    pool: RayEngine, alone: HFEngine, tmp_path: Path
) -> None:
    first = engine_workers(os.getpid())
    with pytest.raises(ModelError, match=str(tmp_path)):  # the worker's error, as itself
        RayEngine(tmp_path, ONE_WORKER)
    wait_until_gone(first)
    want = by_draw(list(alone.sample(requests(2), WARM)))
    assert by_draw(list(pool.sample(requests(2), WARM))) == want


@pytest.mark.slow
def test_more_workers_than_the_cluster_has_room_for_are_refused(pool: RayEngine) -> None:
    with pytest.raises(ConfigError, match=r"9000 workers need 9000 CPUs, Ray has \d+"):
        connect(RaySection(workers=9000))
    with pytest.raises(ConfigError, match=r"need 32 GPUs, Ray has 0"):
        connect(RaySection(workers=2, gpus_per_worker=16))
