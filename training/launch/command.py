"""The command that launches a training stage, and the accelerate configuration behind it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from core.errors import ConfigError
from core.progress import say
from core.stages import project_root
from training.launch.processes import MARK, accumulation
from training.trainers.job import TrainingJob

if TYPE_CHECKING:
    from core.config import Config, LaunchSection

NONE = "none"
"""The value of `launch.config` for training in this process."""
ONE_GPU = "one-gpu"
_PORT = 29500
_FSDP = 2


class Layout(NamedTuple):
    """What an accelerate configuration says about processes."""

    file: Path
    processes: int
    machines: int
    on_cpu: bool
    address: str | None
    port: int | None


def launch_file(section: LaunchSection) -> Path:
    """Return the accelerate configuration that a run names, shipped or its own.

    Raises:
        ConfigError: there is no such file.
    """
    shipped = project_root() / "configs" / "accelerate"
    for file in (shipped / f"{section.config}.yaml", Path(section.config).expanduser()):
        if file.is_file():
            return file
    names = ", ".join([NONE, *sorted(p.stem for p in shipped.glob("*.yaml"))])
    raise ConfigError(f"launch.config = {section.config!r}: no such file; shipped are {names}")


def layout(section: LaunchSection) -> Layout:
    """Read the accelerate configuration that a run names.

    Raises:
        ConfigError: there is no such file, accelerate does not accept it, or the processes cannot
            be spread over its machines.
    """
    import yaml
    from accelerate.commands.config.config_args import load_config_from_file

    file = launch_file(section)
    try:
        loaded = load_config_from_file(str(file))
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{file}: not an accelerate configuration ({error})") from error
    sharding = getattr(loaded, "fsdp_config", None) or {}
    if loaded.distributed_type == "FSDP" and int(sharding.get("fsdp_version", 1)) != _FSDP:
        raise ConfigError(
            f"{file}: set fsdp_version: {_FSDP} in fsdp_config; the older one is not supported"
        )
    count = section.processes or loaded.num_processes
    if count % loaded.num_machines:
        raise ConfigError(
            f"{file}: {count} processes do not spread evenly over {loaded.num_machines} machines"
        )
    machine_0 = (loaded.main_process_ip, loaded.main_process_port)
    return Layout(file.resolve(), count, loaded.num_machines, bool(loaded.use_cpu), *machine_0)


def launch_of(config: Config) -> LaunchSection:
    """Return how a run launches training: as configured, but beside vLLM on a GPU never "none".

    vLLM takes nine tenths of the GPU, for the judge of checkpoints while the trainer's weights and
    optimiser are still there, and a process that has used a GPU keeps some of its memory. So
    training gets a process of its own then, which ends before vLLM starts again.
    """
    section, engine = config.launch, config.engine
    if section.config != NONE or engine.kind != "vllm" or engine.ray.workers:
        return section
    from engines.models import pick_device

    if pick_device(engine.device) != "cuda":
        return section
    return section.model_copy(update={"config": ONE_GPU, "processes": None})


def check_launch(config: Config) -> None:
    """Check that every training stage of a run can be launched as configured.

    Raises:
        ConfigError: the configuration cannot be used, a global batch cannot be split evenly, or the
            address of machine 0 is missing.
    """
    launch = launch_of(config)
    if launch.config == NONE:
        return
    if launch != config.launch:
        say(f"  note: training runs in a process of its own ({ONE_GPU!r}): vLLM needs the GPU")
    place = layout(launch)
    accumulation(config.sft, place.processes, "sft")
    for iteration, own in config.own_settings():
        accumulation(own.dpo, place.processes, f"{iteration}dpo")
    _address(launch, place)


def command(section: LaunchSection, place: Layout, job: Path, *, rank: int = 0) -> list[str]:
    """Return the command that starts one machine's processes; `rank` is the machine's number."""
    precision = TrainingJob.model_validate_json(job.read_text()).section.precision
    return [
        sys.executable, "-m", "accelerate.commands.launch",
        "--config_file", str(place.file),
        "--num_processes", str(place.processes),
        "--num_machines", str(place.machines),
        "--machine_rank", str(rank),
        *_address(section, place),
        # The run's setting overrides the file's: it is part of the artifact's key.
        "--mixed_precision", "bf16" if precision == "bf16" else "no",
        "--module", "training.launch.worker", str(job),
    ]  # fmt: skip


def _address(section: LaunchSection, place: Layout) -> list[str]:
    if place.machines == 1:
        return ["--main_process_port", "0"]  # a free one
    address = section.main_process_ip or os.environ.get("MASTER_ADDR") or place.address
    if not address:
        raise ConfigError(
            f"launch.config = {section.config!r} needs {place.machines} machines, but the "
            "address of machine 0 is missing: set launch.main_process_ip, or the environment "
            "variable MASTER_ADDR"
        )
    port = section.main_process_port or os.environ.get("MASTER_PORT") or place.port or _PORT
    return ["--main_process_ip", address, "--main_process_port", str(port)]


def environment() -> dict[str, str]:
    """Return this process's environment with the project's packages on the path."""
    path = os.pathsep.join(filter(None, [str(project_root()), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path}


def run_logged(words: list[str], log: Path) -> int:
    """Run a command, write its output to `log`, show the marked lines; return its exit code.

    If this process is interrupted the command is terminated.
    """
    with (
        log.open("w", encoding="utf-8") as file,
        subprocess.Popen(  # noqa: S603 - our own interpreter and modules
            words,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        lines: Any = process.stdout
        try:
            for line in lines:
                file.write(line)
                file.flush()
                if line.startswith(MARK):
                    say(line.removeprefix(MARK).rstrip("\n"))
        except BaseException:
            process.terminate()
            raise
        return process.wait()
