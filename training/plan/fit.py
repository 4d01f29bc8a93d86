"""Which GPUs train and which sample, and whether the work fits into their memory."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from core.benchmarks import FIRST_FEEDBACK_ITERATION
from core.config import DpoSection
from core.errors import ConfigError
from core.stages import SFT_BASELINE
from training.launch.command import NONE, launch_file
from training.plan.memory import (
    Memory,
    SamplingMemory,
    TrainingSetup,
    sampling_memory,
    training_memory,
)
from training.plan.shapes import Unknown, shape_of
from training.plan.work import few_shot_tokens, longest, rubric_tokens
from training.run import EXTERNAL, VERIFIER, is_run_model
from training.seed_stages import seed_stages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from core.config import Config, LaunchSection, LoraSection, SftSection
    from training.plan.shapes import Shape

GB = 1e9
_PAIR = 2  # answers that a row of DPO's data holds
_KEPT = 2  # models that the transformers engine keeps loaded (engines/pool.py)
_BYTES = {"bfloat16": 2, "float32": 4}


class Processes(NamedTuple):
    """Processes that train together, one GPU each, and whether they shard the model."""

    number: int
    sharded: bool


def processes_of(section: LaunchSection) -> Processes:
    """Return what a launch configuration starts.

    accelerate is not asked to read the file: importing it takes seconds.

    Raises:
        Unknown: it trains on CPUs.
        ConfigError: the file does not exist or is not an accelerate configuration.
    """
    if section.config == NONE:
        return Processes(1, sharded=False)
    import yaml

    path = launch_file(section)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        count = section.processes or int(content["num_processes"])
        sharded = count > 1 and content["distributed_type"] == "FSDP"
        on_cpu = bool(content.get("use_cpu", False))
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{path}: not an accelerate configuration: {type(error).__name__}: {error}"
        ) from None
    if on_cpu:
        raise Unknown(f"launch.config = {section.config!r}: no GPU trains")
    return Processes(count, sharded)


def training_setup(config: Config, section: SftSection | DpoSection, shape: Shape) -> TrainingSetup:
    """Return how a training stage runs on the GPUs of `launch`; raises as `processes_of`."""
    processes = processes_of(config.launch)
    return TrainingSetup(
        gpus=processes.number,
        sharded=processes.sharded,
        rows=section.micro_batch_size,
        answers=_PAIR if isinstance(section, DpoSection) else 1,
        max_length=section.max_length,
        bf16=section.precision == "bf16",
        checkpointing=section.gradient_checkpointing,
        adapters=adapters(config, shape),
        second_reference=isinstance(section, DpoSection) and section.reference != "previous",
    )


def adapters(config: Config, shape: Shape) -> int:
    """Return the parameters of LoRA, 0 if the whole model is trained."""
    if not config.lora.enabled:
        return 0
    modules = config.lora.target_modules
    # "all-linear": every linear layer but the output layer.
    targets = tuple(shape.matrices) if isinstance(modules, str) else modules
    return shape.lora_parameters(config.lora.r, targets)


class Samplers(NamedTuple):
    """Engines that sample side by side.

    `gpus`: of all of them together. `divided`: GPUs per model (tensor parallelism). `share`: of the
    memory of each of these GPUs that one engine may use.
    """

    gpus: float
    divided: int
    share: float


def samplers(config: Config) -> Samplers:
    """Return the engines of a run; raises `Unknown` if no GPU samples."""
    engine = config.engine
    if engine.kind == "openai":
        return Samplers(config.plan.gpus, 1, 1.0)
    if engine.device == "cpu":
        raise Unknown("engine.device = 'cpu': no GPU samples")
    divided = engine.tensor_parallel if engine.kind == "vllm" else 1
    if not engine.ray.workers:
        return Samplers(divided, divided, 1.0)
    each = engine.ray.gpus_per_worker
    if not each:
        raise Unknown("engine.ray.gpus_per_worker = 0: no GPU samples")
    return Samplers(engine.ray.workers * each, divided, min(1.0, each))


class Fit(NamedTuple):
    """The bytes that one kind of work needs on each of its GPUs, and the bytes it may use."""

    gpus: int
    parts: Memory | SamplingMemory
    available: float
    fits: bool
    verdict: str


def fits(config: Config, k: int) -> dict[str, Fit | Unknown]:
    """Return a verdict on each kind of training and sampling of a run up to M_k, by its title."""
    seeds = "SFT baseline" if config.m1.model else "SFT baseline, M1"
    kinds: dict[str, Callable[[], Fit]] = {}
    if SFT_BASELINE in seed_stages(config) or not config.m1.model:
        kinds[seeds] = partial(_training, config, config.sft)
    for models, own, section in _improved(config, k):
        kind = "DPO" if isinstance(section, DpoSection) else "SFT"
        kinds[f"{kind}: {', '.join(models)}"] = partial(_training, own, section)
    for model, roles in _sampled(config, k).items():
        kinds[f"sampling: {', '.join(roles)}"] = partial(_sampling, config, model, k)
    found: dict[str, Fit | Unknown] = {}
    for title, fit in kinds.items():
        try:
            found[title] = fit()
        except Unknown as reason:
            found[title] = reason
    return found


def _improved(
    config: Config, k: int
) -> Iterator[tuple[list[str], Config, SftSection | DpoSection]]:
    """Yield the models from M2 to M_k that are trained alike, with their settings."""
    alike: dict[tuple[SftSection | DpoSection, LoraSection], tuple[list[str], Config]] = {}
    for i in range(FIRST_FEEDBACK_ITERATION, k + 1):
        own = config.at(i)
        section = own.dpo if own.improvement.method == "dpo" else own.sft
        models, _ = alike.setdefault((section, own.lora), ([], own))
        models.append(f"M{i}")
    for (section, _), (models, own) in alike.items():
        yield models, own, section


def trained_from(config: Config, section: SftSection | DpoSection) -> str:
    """Return the model whose shape a training stage has: SFT trains M0, DPO what came of M1."""
    return config.origin if isinstance(section, DpoSection) else config.model.base


def _training(config: Config, section: SftSection | DpoSection) -> Fit:
    shape, plan = shape_of(trained_from(config, section)), config.plan
    setup = training_setup(config, section, shape)
    parts = training_memory(shape, setup)._replace(engines=_engines_beside(config, section))
    available = plan.gpu_memory_gb * GB * (1 - plan.memory_reserve)
    fit, verdict = _compared(parts, available)
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


def _engines_beside(config: Config, section: SftSection | DpoSection) -> float:
    """Return the bytes of the engines that the training process itself keeps.

    Without a launcher, engines of transformers compare checkpoints while the trainer waits. Those
    of vLLM never do (`launch_of`), and Ray's have GPUs of their own.
    """
    engine, judged = config.engine, config.dpo.early_stopping.enabled
    here = config.launch.config == NONE and engine.device != "cpu" and not engine.ray.workers
    if not (isinstance(section, DpoSection) and judged and here and engine.kind == "transformers"):
        return 0.0
    return _sampling(config, config.origin, k=1).parts.needed


def _compared(parts: Memory | SamplingMemory, available: float) -> tuple[bool, str]:
    fit = parts.needed <= available
    amounts = f"{parts.needed / GB:.1f} of {available / GB:.1f} GB on each GPU"
    return fit, f"{'fits' if fit else 'does not fit'}: needs {amounts}"


def _sampled(config: Config, k: int) -> dict[str, list[str]]:
    """Return the models that sample, each with its roles."""
    roles = {config.origin: ["the run's models"]}
    for i in range(FIRST_FEEDBACK_ITERATION, k + 1):
        own = config.at(i)
        others = [("prompt writer", own.prompts.generator)]
        others.append(("judge of candidates", own.improvement.judge))
        if own.improvement.method == "dpo" and own.dpo.early_stopping.enabled:
            others.append(("checkpoint judge", own.dpo.early_stopping.judge))
        for role, model in others:
            if is_run_model(model) or model in (EXTERNAL, VERIFIER):
                continue
            if role not in roles.setdefault(model, []):
                roles[model].append(role)
    return roles


def longest_request(config: Config) -> int:
    """Return the tokens of the longest request with its reply, at a mean instruction."""
    most = longest(config)
    judging = rubric_tokens(config) + most.prompt + most.answer + most.judgment
    writing = few_shot_tokens(config, most) + most.call
    return math.ceil(max(judging, writing, most.prompt + most.answer))


def _sampling(config: Config, model: str, k: int) -> Fit:
    shape, engine, plan = shape_of(model), config.engine, config.plan
    engines = samplers(config)
    if engine.kind == "openai":
        raise Unknown("the memory of servers is not known here")
    longest_tokens = max(longest_request(own) for _, own in config.own_settings(k))
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
    fit, verdict = _compared(parts, available)
    if fit and vllm:
        verdict += (
            f", and leaves a cache for {parts.room_tokens:,} tokens, "
            f"{parts.room_tokens // longest_tokens:,} of the longest requests "
            f"({longest_tokens:,} each)"
        )
    return Fit(engines.divided, parts, available, fit, verdict)
