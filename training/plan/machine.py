"""Which GPUs train and which sample, read from the settings that decide it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from core.config import DpoSection
from core.errors import ConfigError
from core.stages import project_root
from training.plan.memory import Adapters, TrainingSetup
from training.plan.shapes import Unknown

if TYPE_CHECKING:
    from core.config import Config, LaunchSection, SftSection
    from training.plan.shapes import Shape

_PAIR = 2  # answers that a row of DPO's data holds
_SHARDED = ("FSDP", "DEEPSPEED")  # the shipped DeepSpeed configuration is ZeRO-3


class Processes(NamedTuple):
    """Processes that train together, one GPU each, and whether they share one copy of the model."""

    number: int
    sharded: bool


def processes_of(section: LaunchSection) -> Processes | Unknown:
    """Return what a launch configuration starts, or that it trains on CPUs.

    accelerate is not asked to read the file: importing it takes seconds.

    Raises:
        ConfigError: the file is not there or is not accelerate's.
    """
    if section.config == "none":
        return Processes(1, sharded=False)
    file = _launch_file(section.config)
    if file["use_cpu"]:
        return Unknown(f"launch.config = {section.config!r}: no GPU trains")
    count = section.processes or file["num_processes"]
    return Processes(count, sharded=count > 1 and file["distributed_type"] in _SHARDED)


def _launch_file(name: str) -> dict[str, Any]:
    import yaml

    shipped = project_root() / "configs" / "accelerate" / f"{name}.yaml"
    path = shipped if shipped.is_file() else Path(name).expanduser()
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in shipped.parent.glob("*.yaml")))
        raise ConfigError(f"launch.config = {name!r}: no such file; shipped are none, {known}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return {
            "num_processes": int(content["num_processes"]),
            "distributed_type": str(content["distributed_type"]),
            "use_cpu": bool(content.get("use_cpu", False)),
        }
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        message = f"{path}: not a configuration of accelerate: {type(error).__name__}: {error}"
        raise ConfigError(message) from None


def training_setup(
    config: Config, section: SftSection | DpoSection, shape: Shape
) -> TrainingSetup | Unknown:
    """Return how a training stage runs on the GPUs that `launch` gives it, if it gives any."""
    processes = processes_of(config.launch)
    if isinstance(processes, Unknown):
        return processes
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


def _adapters(config: Config, shape: Shape) -> Adapters | None:
    if not config.lora.enabled:
        return None
    modules = config.lora.target_modules
    # "all-linear" is every linear layer but the output layer: all matrices of a layer.
    targets = tuple(shape.matrices) if isinstance(modules, str) else modules
    return Adapters(config.lora.r, targets)


class Samplers(NamedTuple):
    """Engines that sample side by side.

    `gpus`: of all of them together. `divided`: GPUs that one model is divided among. `share`: of
    the memory of each of these GPUs that one engine may use.
    """

    gpus: float
    divided: int
    share: float


def samplers(config: Config) -> Samplers | Unknown:
    """Return the engines of a run, or why no GPU is known to sample."""
    engine = config.engine
    if engine.kind == "openai":
        return Samplers(config.plan.gpus, 1, 1.0)
    if engine.device == "cpu":
        return Unknown("engine.device = 'cpu': no GPU samples")
    divided = engine.tensor_parallel if engine.kind == "vllm" else 1
    if not engine.ray.workers:
        return Samplers(divided, divided, 1.0)
    each = engine.ray.gpus_per_worker
    if not each:
        return Unknown("engine.ray.gpus_per_worker = 0: no GPU samples")
    return Samplers(engine.ray.workers * each, divided, min(1.0, each))
