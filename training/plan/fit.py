"""Does the work that needs GPUs fit into them, and if not, what would?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from training.plan.machine import samplers, training_setup
from training.plan.memory import (
    Adapters,
    Memory,
    Sampling,
    SamplingMemory,
    TrainingSetup,
    sampling_memory,
    training_memory,
)
from training.plan.shapes import Unknown, shape_of
from training.plan.work import few_shot_tokens, longest, rubric_tokens
from training.run import MODEL_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from core.config import Config, DpoSection, SftSection
    from training.plan.shapes import Shape

GB = 1e9
_NODE = 8  # GPUs are added in whole machines
_SHORTEST = 512
_LORA = Adapters(16, ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"))
_FIRST_FEEDBACK = 2
_KEPT = 2  # models that the engine of transformers keeps loaded (engines/pool.py)
_BYTES = {"bfloat16": 2, "float32": 4}


class Fit(NamedTuple):
    """What one kind of work takes on each of its GPUs, what it may take, and what follows.

    `parts` are bytes. `remedies` are settings with which it would fit, each computed; there are
    none when it fits.
    """

    what: str
    gpus: int
    parts: Memory | SamplingMemory
    available: float
    fits: bool
    verdict: str
    remedies: tuple[str, ...] = ()


def fits(config: Config, k: int) -> list[Fit | Unknown]:
    """Return a verdict on training and on sampling for a run up to M_k."""
    found = [_training(config, "SFT baseline, M1", config.sft)]
    if k >= _FIRST_FEEDBACK:
        models = ", ".join(f"M{i}" for i in range(_FIRST_FEEDBACK, k + 1))
        if config.improvement.method == "dpo":
            found.append(_training(config, f"DPO: {models}", config.dpo))
        else:
            found.append(_training(config, f"SFT: {models}", config.sft))
    return [
        *found,
        *(_sampling(config, what, model) for model, what in _sampled(config, k).items()),
    ]


def _training(config: Config, what: str, section: SftSection | DpoSection) -> Fit | Unknown:
    shape = shape_of(config.model.base)
    if isinstance(shape, Unknown):
        return Unknown(f"{what}: {shape.reason}")
    setup, plan = training_setup(config, section, shape), config.plan
    if isinstance(setup, Unknown):
        return Unknown(f"{what}: {setup.reason}")
    parts = training_memory(shape, setup)
    available = plan.gpu_memory_gb * GB * (1 - plan.memory_reserve)
    fit = parts.needed <= available
    verdict = _compared(parts.needed, available)
    remedies = () if fit else _remedies(shape, setup, section.batch_size, available)
    if not fit:
        remedies = (*remedies, _larger(shape, setup, plan.memory_reserve))
    together = setup.gpus * setup.rows
    if setup.gpus > plan.gpus:
        verdict = f"needs {setup.gpus} GPUs, and plan.gpus is {plan.gpus}; {verdict}"
        fit = False
    if section.batch_size % together:
        verdict = (
            f"cannot run: batch_size {section.batch_size} is no multiple of {setup.gpus} GPUs x "
            f"micro_batch_size {setup.rows}; {verdict}"
        )
        fit = False
    return Fit(what, setup.gpus, parts, available, fit, verdict, remedies)


def _compared(needed: float, available: float) -> str:
    """Return the verdict in words."""
    word = "fits" if needed <= available else "does not fit"
    return f"{word}: needs {needed / GB:.1f} of {available / GB:.1f} GB on each GPU"


def _remedies(
    shape: Shape, setup: TrainingSetup, batch_size: int, available: float
) -> tuple[str, ...]:
    """Return the mildest change of each kind that makes training fit: settings, GPUs, LoRA."""
    small = setup._replace(rows=1, checkpointing=True)
    lengths = [n for n in _halves(setup.max_length) if n >= _SHORTEST]
    settings = [
        setup._replace(checkpointing=True),
        setup._replace(rows=1),
        small,
        *(small._replace(max_length=n) for n in lengths),
    ]
    # Each GPU needs a row of its own in every optimiser step.
    counts = [n for n in range(_NODE, batch_size + 1, _NODE) if batch_size % n == 0]
    machines = [
        tried._replace(gpus=n, sharded=True)
        for n in counts
        if n > setup.gpus or not setup.sharded
        for tried in (setup._replace(rows=1), small)
    ]
    adapters = [setup._replace(adapters=_LORA), small._replace(adapters=_LORA)]
    found = []
    for kind in (settings, machines, adapters):
        fitting = (s for s in kind if training_memory(shape, s).needed <= available)
        first = next(fitting, None)
        if first is not None:
            found.append(_changes(setup, first))
    return tuple(found)


def _halves(length: int) -> Iterator[int]:
    while length > 1:
        length //= 2
        yield length


def _changes(before: TrainingSetup, after: TrainingSetup) -> str:
    """Return what differs, in the names of the settings."""
    return ", ".join(_named(before, after))


def _named(before: TrainingSetup, after: TrainingSetup) -> Iterable[str]:
    if after.gpus != before.gpus or after.sharded != before.sharded:
        yield f"{after.gpus} GPUs, sharded"
    if after.adapters and not before.adapters:
        yield f"LoRA of rank {after.adapters.rank} on every matrix"
    if after.checkpointing and not before.checkpointing:
        yield "gradient_checkpointing = true"
    if after.rows != before.rows:
        yield f"micro_batch_size = {after.rows}"
    if after.max_length != before.max_length:
        yield f"max_length = {after.max_length}"


def _larger(shape: Shape, setup: TrainingSetup, reserve: float) -> str:
    needed = training_memory(shape, setup).needed
    return f"GPUs of {math.ceil(needed / (1 - reserve) / GB)} GB"


def _sampled(config: Config, k: int) -> dict[str, str]:
    """Return the models that sample, each with the parts it plays."""
    roles = {config.model.base: ["the run's models"]}
    if k >= _FIRST_FEEDBACK:
        others = [("prompt writer", config.prompts.generator)]
        if config.improvement.method == "dpo" and config.dpo.early_stopping.enabled:
            others.append(("checkpoint judge", config.dpo.early_stopping.judge))
        for role, model in others:
            if model not in MODEL_NAMES:
                roles.setdefault(model, []).append(role)
    return {model: f"sampling: {', '.join(parts)}" for model, parts in roles.items()}


def longest_request(config: Config) -> int:
    """Return the tokens of the longest request with its reply, at a mean instruction."""
    most = longest(config)
    judging = rubric_tokens(config) + most.prompt + most.answer + most.judgment
    writing = few_shot_tokens(config, most) + most.call
    return math.ceil(max(judging, writing, most.prompt + most.answer))


def _sampling(config: Config, what: str, model: str) -> Fit | Unknown:
    shape, engine, plan = shape_of(model), config.engine, config.plan
    engines = samplers(config)
    if isinstance(shape, Unknown):
        return Unknown(f"{what}: {shape.reason}")
    if isinstance(engines, Unknown):
        return Unknown(f"{what}: {engines.reason}")
    if engine.kind == "openai":
        return Unknown(f"{what}: the memory of servers is not known here")
    one = longest_request(config)
    vllm = engine.kind == "vllm"
    taken = engine.gpu_memory_utilization if vllm else 1 - plan.memory_reserve
    available = plan.gpu_memory_gb * GB * taken * engines.share
    need = Sampling(
        models=1 if vllm else _KEPT,
        bytes_per_value=_BYTES[engine.dtype],
        cache_tokens=one if vllm else max(engine.max_batch_tokens, one),
        available=available,
    )
    parts = sampling_memory(shape, engines.divided, need)
    verdict, fit = _compared(parts.needed, available), parts.needed <= available
    if fit and vllm:
        verdict += (
            f", and leaves a cache for {parts.room_tokens:,} tokens, "
            f"{parts.room_tokens // one:,} of the longest requests ({one:,} each)"
        )
    remedies = () if fit else _more_gpus(shape, need)
    return Fit(what, engines.divided, parts, available, fit, verdict, remedies)


def _more_gpus(shape: Shape, need: Sampling) -> tuple[str, ...]:
    """Return the smallest tensor parallelism that fits: one that divides the heads."""
    need = need._replace(models=1)
    for gpus in (1, 2, 4, 8, 16):
        parts = sampling_memory(shape, gpus, need)
        if shape.heads % gpus == 0 and parts.needed <= need.available:
            return (f'engine.kind = "vllm", engine.tensor_parallel = {gpus}',)
    return ()
