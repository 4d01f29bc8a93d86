"""An engine that runs on a pool of Ray workers: the same rows on more machines.

`sample` and `score` run as Ray Data jobs. A job's rows are tasks (engines/ray/tasks.py); each is
sent to the pool's dispatcher, which finds a free worker (engines/ray/workers.py). The workers
outlive the jobs, so that a model is loaded once. Each task's outcome is returned once: duplicates,
because Ray repeated a step of a job, are dropped.

The samples are those of one worker's engine, and the fingerprint is that engine's.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from typing import TYPE_CHECKING, Any

from core.errors import ConfigError, ModelError
from core.hashing import model_digest
from engines.ray.tasks import fingerprint, sampled_rows, sampling_tasks, scored_rows, scoring_tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from typing import Unpack

    from core.config import EngineSection, RaySection
    from engines.engine import Continuation, Decoding, Logprob, Request, Sampled
    from engines.models import Opening

_LOCAL_STORE_BYTES = 200 * 2**20  # tasks and outcomes are text: a few megabytes
_CLOSING_S = 30.0


class RayEngine:
    """A pool of workers with the same model. `close` ends them and frees their memory.

    One pool is open at a time, as it may take the whole cluster: opening another closes it, and a
    closed one reopens on its next use.
    """

    _opened: RayEngine | None = None

    def __init__(self, folder: Path, section: EngineSection, **opening: Unpack[Opening]) -> None:
        """Start the workers; return when the first has loaded the model.

        Every machine of the cluster must be able to read the folder under the same path.

        Raises:
            ConfigError: Ray is not installed, not reachable, or too small for the workers.
            ModelError: the folder cannot be used.
            WorkersLost: the workers die while loading it.
        """
        # Hashed once, not by every worker.
        opening["weights_sha256"] = opening.get("weights_sha256") or model_digest(folder)
        self._model = (folder.resolve(), section, opening)
        self._section = section.ray
        self._workers: list[Any] = []
        self._dispatcher: Any = None
        connect(self._section)
        self.fingerprint = self._open()

    def sample(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Sampled]:
        """Yield draws as tasks end; see `Engine.sample`."""
        rows, workers = self._section.rows_per_task, self._section.workers
        tasks = sampling_tasks(requests, decoding, rows=rows, workers=workers)
        for _, outcome in self._outcomes(tasks):
            yield from sampled_rows(outcome)

    def score(self, requests: Sequence[Continuation]) -> list[Logprob]:
        """Return one result per request, in order."""
        rows, workers = self._section.rows_per_task, self._section.workers
        tasks = scoring_tasks(requests, rows=rows, workers=workers)
        found: dict[int, Logprob] = {}
        for number, outcome in self._outcomes([task.task for task in tasks]):
            found.update(zip(tasks[number].places, scored_rows(outcome), strict=True))
        return [found[at] for at in range(len(requests))]

    def close(self) -> None:
        """End the workers; calling it again has no effect."""
        if self._dispatcher is None:
            return
        import ray

        closing = [worker.close.remote() for worker in self._workers]
        ray.wait(closing, num_returns=len(closing), timeout=_CLOSING_S)
        for actor in (self._dispatcher, *self._workers):
            ray.kill(actor)
        self._dispatcher, self._workers = None, []
        RayEngine._opened = None

    def _open(self) -> str:
        """Start workers and dispatcher; return the fingerprint of their engine."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        from engines.ray.workers import Dispatcher, EngineWorker

        if RayEngine._opened is not None:
            RayEngine._opened.close()
        RayEngine._opened = self
        worker = ray.remote(EngineWorker).options(
            num_cpus=self._section.cpus_per_worker,
            num_gpus=self._section.gpus_per_worker,
            max_restarts=-1,
            runtime_env={"env_vars": {"OMP_NUM_THREADS": str(self._section.cpus_per_worker)}},
        )
        self._workers = [worker.remote(*self._model) for _ in range(self._section.workers)]
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        dispatcher = ray.remote(Dispatcher).options(num_cpus=0, scheduling_strategy=here)
        self._dispatcher = dispatcher.remote(self._workers)
        return fingerprint(ray.get(self._dispatcher.open.remote()))

    def _outcomes(self, tasks: Sequence[str]) -> Iterator[tuple[int, str]]:
        """Yield each task's number and outcome once, as they end."""
        if not tasks:
            return
        if self._dispatcher is None:
            self._open()
        import ray.data

        rows = [{"number": number, "task": task} for number, task in enumerate(tasks)]
        job = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            _carrier(self._dispatcher), num_cpus=0, concurrency=self._section.workers
        )
        seen: set[int] = set()
        for row in job.iter_rows():
            number, outcome = int(row["number"]), str(row["outcome"])
            if number in seen:
                continue
            seen.add(number)
            if (other := fingerprint(outcome)) != self.fingerprint:
                raise ModelError(
                    f"workers on Ray differ: one is {other}, the first was {self.fingerprint}. "
                    "Set engine.device and use machines of one kind, or their rows would be mixed"
                )
            yield number, outcome


def _carrier(dispatcher: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return the step of a job that runs a task; it only waits, so it needs no CPU."""

    def carry(row: dict[str, Any]) -> dict[str, Any]:
        import ray

        return {"number": row["number"], "outcome": ray.get(dispatcher.run.remote(row["task"]))}

    return carry


def connect(section: RaySection) -> None:
    """Connect to the section's cluster, or start Ray on this machine, unless already connected.

    Raises:
        ConfigError: Ray is not installed, not reachable, or too small for the workers.
    """
    if importlib.util.find_spec("ray") is None:
        raise ConfigError(
            f"engine.ray.workers = {section.workers}: Ray is not installed here; run "
            "`pip install -e '.[ray]'`, or set engine.ray.workers to 0"
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray
    import ray.data

    if not ray.is_initialized():
        settings: dict[str, Any] = {}
        if section.address == "local":
            settings = {"include_dashboard": False, "object_store_memory": _LOCAL_STORE_BYTES}
        try:
            ray.init(section.address, log_to_driver=False, logging_level=logging.ERROR, **settings)
        except ConnectionError as error:
            raise ConfigError(
                f"engine.ray.address = {section.address!r}: no Ray there ({error})"
            ) from None
    ray.data.DataContext.get_current().enable_progress_bars = False  # the stage has its own
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    _check_room(section, ray.cluster_resources())


def _check_room(section: RaySection, there: dict[str, float]) -> None:
    wanted = {
        "CPU": section.workers * section.cpus_per_worker,
        "GPU": section.workers * section.gpus_per_worker,
    }
    lacking = [
        f"{wanted[kind]:g} {kind}s, Ray has {there.get(kind, 0):g}"
        for kind in wanted
        if wanted[kind] > there.get(kind, 0)
    ]
    if lacking:
        raise ConfigError(
            f"engine.ray: {section.workers} workers need {' and '.join(lacking)}; "
            "ask for fewer or start more machines first"
        )
