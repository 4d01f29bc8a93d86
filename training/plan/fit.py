"""Whether training and sampling fit into GPU memory."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from core.benchmarks import FIRST_FEEDBACK_ITERATION
from training.plan.machine import samplers, training_setup
from training.plan.memory import Memory, SamplingMemory, sampling_memory, training_memory
from training.plan.shapes import Unknown, shape_of
from training.plan.work import few_shot_tokens, longest, rubric_tokens
from training.run import MODEL_NAMES

if TYPE_CHECKING:
    from core.config import Config, DpoSection, SftSection

GB = 1e9
_KEPT = 2  # models that the transformers engine keeps loaded (engines/pool.py)
_BYTES = {"bfloat16": 2, "float32": 4}


class Fit(NamedTuple):
    """The bytes that one kind of work needs on each of its GPUs, and the bytes it may use."""

    gpus: int
    parts: Memory | SamplingMemory
    available: float
    fits: bool
    verdict: str


def fits(config: Config, k: int) -> dict[str, Fit | Unknown]:
    """Return a verdict on each kind of training and sampling of a run up to M_k, by its title."""
    kinds = {"SFT baseline, M1": partial(_training, config, config.sft)}
    if k >= FIRST_FEEDBACK_ITERATION:
        models = ", ".join(f"M{i}" for i in range(FIRST_FEEDBACK_ITERATION, k + 1))
        dpo = config.improvement.method == "dpo"
        section = config.dpo if dpo else config.sft
        kinds[f"{'DPO' if dpo else 'SFT'}: {models}"] = partial(_training, config, section)
    for model, roles in _sampled(config, k).items():
        kinds[f"sampling: {', '.join(roles)}"] = partial(_sampling, config, model)
    found: dict[str, Fit | Unknown] = {}
    for title, fit in kinds.items():
        try:
            found[title] = fit()
        except Unknown as reason:
            found[title] = reason
    return found


def _training(config: Config, section: SftSection | DpoSection) -> Fit:
    shape, plan = shape_of(config.model.base), config.plan
    setup = training_setup(config, section, shape)
    parts = training_memory(shape, setup)
    available = plan.gpu_memory_gb * GB * (1 - plan.memory_reserve)
    verdict, fit = _compared(parts.needed, available), parts.needed <= available
    if setup.gpus > plan.gpus:
        verdict = f"needs {setup.gpus} GPUs, and plan.gpus is {plan.gpus}; {verdict}"
        fit = False
    if section.batch_size % (setup.gpus * setup.rows):
        verdict = (
            f"cannot run: batch_size {section.batch_size} is no multiple of {setup.gpus} GPUs x "
            f"micro_batch_size {setup.rows}; {verdict}"
        )
        fit = False
    return Fit(setup.gpus, parts, available, fit, verdict)


def _compared(needed: float, available: float) -> str:
    word = "fits" if needed <= available else "does not fit"
    return f"{word}: needs {needed / GB:.1f} of {available / GB:.1f} GB on each GPU"


def _sampled(config: Config, k: int) -> dict[str, list[str]]:
    """Return the models that sample, each with its roles."""
    roles = {config.model.base: ["the run's models"]}
    if k >= FIRST_FEEDBACK_ITERATION:
        others = [("prompt writer", config.prompts.generator)]
        if config.improvement.method == "dpo" and config.dpo.early_stopping.enabled:
            others.append(("checkpoint judge", config.dpo.early_stopping.judge))
        for role, model in others:
            if model not in MODEL_NAMES:
                roles.setdefault(model, []).append(role)
    return roles


def longest_request(config: Config) -> int:
    """Return the tokens of the longest request with its reply, at a mean instruction."""
    most = longest(config)
    judging = rubric_tokens(config) + most.prompt + most.answer + most.judgment
    writing = few_shot_tokens(config, most) + most.call
    return math.ceil(max(judging, writing, most.prompt + most.answer))


def _sampling(config: Config, model: str) -> Fit:
    shape, engine, plan = shape_of(model), config.engine, config.plan
    engines = samplers(config)
    if engine.kind == "openai":
        raise Unknown("the memory of servers is not known here")
    longest_tokens = longest_request(config)
    vllm = engine.kind == "vllm"
    taken = engine.gpu_memory_utilization if vllm else 1 - plan.memory_reserve
    available = plan.gpu_memory_gb * GB * taken * engines.share
    parts = sampling_memory(
        shape,
        engines.divided,
        models=1 if vllm else _KEPT,
        bytes_per_value=_BYTES[engine.dtype],
        cache_tokens=longest_tokens if vllm else max(engine.max_batch_tokens, longest_tokens),
        available=available,
    )
    verdict, fit = _compared(parts.needed, available), parts.needed <= available
    if fit and vllm:
        verdict += (
            f", and leaves a cache for {parts.room_tokens:,} tokens, "
            f"{parts.room_tokens // longest_tokens:,} of the longest requests "
            f"({longest_tokens:,} each)"
        )
    return Fit(engines.divided, parts, available, fit, verdict)
