"""Which GPUs train and which sample, from launch, engine and Ray settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from core.config import DpoSection
from core.errors import ConfigError
from training.launch.command import NONE, launch_file
from training.plan.memory import TrainingSetup
from training.plan.shapes import Unknown

if TYPE_CHECKING:
    from core.config import Config, LaunchSection, SftSection
    from training.plan.shapes import Shape

_PAIR = 2  # answers that a row of DPO's data holds


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
    """Return how a training stage runs on the GPUs that `launch` gives it.

    Raises:
        Unknown: it trains on CPUs.
    """
    processes = processes_of(config.launch)
    return TrainingSetup(
        gpus=processes.number,
        sharded=processes.sharded,
        rows=section.micro_batch_size,
        answers=_PAIR if isinstance(section, DpoSection) else 1,
        max_length=section.max_length,
        bf16=section.precision == "bf16",
        checkpointing=section.gradient_checkpointing,
        adapters=_adapters(config, shape),
        second_reference=isinstance(section, DpoSection) and section.reference != "previous",
    )


def _adapters(config: Config, shape: Shape) -> int:
    """Return the parameters of the LoRA adapters, 0 without LoRA."""
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
    """Return the engines of a run.

    Raises:
        Unknown: no GPU samples.
    """
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
