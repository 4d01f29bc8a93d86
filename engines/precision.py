"""What "auto" arithmetic stands for: bfloat16 where its products are measured to be faster.

A run keeps what it began with (docs/decisions/040-arithmetic-of-the-machine.md).
"""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from core import jsonl
from core.progress import say
from core.stages import Paths
from engines.models import pick_device

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import torch

    from core.config import Config, EngineSection

AUTO = "auto"
_SETTINGS = ("engine.dtype", "sft.precision", "dpo.precision")
# Processors without bfloat16 products are several times slower with them, those with AMX several
# times faster; a processor between the two gains nothing that is worth the digits.
_LEAST_GAIN = 1.5
_ROWS = (64, 256)  # of a batch being decoded, of a short training batch
_WIDTH, _OUT = 576, 1536  # a layer of the embedded model
_MEASURED_S = 0.2
_LEAST_ROUNDS = 3

Dtype = Literal["bfloat16", "float32"]
Precision = Literal["bf16", "fp32"]


class Products(NamedTuple):
    """Seconds of the same matrix products in both kinds of arithmetic."""

    float32_s: float
    bfloat16_s: float

    @property
    def gain(self) -> float:
        """How many times as fast bfloat16 is."""
        return self.float32_s / self.bfloat16_s


def resolve(
    config: Config,
    measure: Callable[[str], bool] | None = None,
    *,
    reuse: Sequence[Path] = (),
) -> Config:
    """Return the configuration with "auto" arithmetic replaced; call it before any key is made.

    A run that has been begun goes on with what its config.json holds, whatever this machine would
    choose; else one whose artifacts are taken from other runs (`reuse`) with what the first holds.
    `measure`: whether bfloat16 is faster on a device (default `bfloat16_is_faster`).
    """
    for name in _SETTINGS:
        if config.section(name) != AUTO:
            continue
        value, reason = _recorded(config.folder, name), "as this run began"
        for run in reuse:
            if value is None:
                value, reason = _recorded(run, name), f"as {run} began"
        if value is None:
            faster = (measure or bfloat16_is_faster)(pick_device(config.engine.device))
            value, reason = (
                _named(name, faster=faster),
                "faster here" if faster else "bf16 is not faster here",
            )
        say(f"  {name}: {value} ({reason})")
        section, _, field = name.partition(".")
        changed = config.section(section).model_copy(update={field: value})
        config = config.model_copy(update={section: changed})
    return config


def resolve_engine(section: EngineSection) -> EngineSection:
    """Return an engine's settings with "auto" arithmetic as measured here."""
    if section.dtype != AUTO:
        return section
    faster = bfloat16_is_faster(pick_device(section.device))
    return section.model_copy(update={"dtype": _named("engine.dtype", faster=faster)})


def summary(config: Config) -> str:
    """Return the arithmetic of a resolved configuration in one line."""
    return "Arithmetic: " + ", ".join(f"{name} = {config.section(name)}" for name in _SETTINGS)


def _named(name: str, *, faster: bool) -> Dtype | Precision:
    if name == "engine.dtype":
        return "bfloat16" if faster else "float32"
    return "bf16" if faster else "fp32"


def _recorded(run: Path, name: str) -> str | None:
    """Return what the run's config.json holds, None if the run has not begun."""
    path = Paths(run).config
    if not path.is_file():
        return None
    value: Any = jsonl.parse(path.read_bytes(), path)
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value if isinstance(value, str) and value != AUTO else None


@cache
def bfloat16_is_faster(device: str) -> bool:
    """Whether bfloat16 products pay on a device ("cpu", "cuda"); measured once in a process."""
    import torch

    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return products().gain >= _LEAST_GAIN


def products() -> Products:
    """Measure matrix products of a small model on the CPU, the least time of each, in turn.

    Takes a fifth of a second where both are fast, and at least three rounds.
    """
    import torch

    kinds = (torch.float32, torch.bfloat16)
    operands = {kind: _operands(kind) for kind in kinds}
    seconds: dict[torch.dtype, list[list[float]]] = {kind: [] for kind in kinds}
    end = time.perf_counter() + _MEASURED_S
    while time.perf_counter() < end or len(seconds[torch.bfloat16]) < _LEAST_ROUNDS:
        for kind in kinds:
            seconds[kind].append([_timed(states, weights) for states, weights in operands[kind]])
    float32_s, bfloat16_s = (sum(map(min, zip(*seconds[kind], strict=True))) for kind in kinds)
    return Products(float32_s, bfloat16_s)


def _operands(kind: torch.dtype) -> list[tuple[torch.Tensor, torch.Tensor]]:
    import torch

    weights = torch.ones((_OUT, _WIDTH), dtype=kind)
    return [(torch.ones((rows, _WIDTH), dtype=kind), weights) for rows in _ROWS]


def _timed(states: torch.Tensor, weights: torch.Tensor) -> float:
    import torch

    began = time.perf_counter()
    torch.nn.functional.linear(states, weights)
    return time.perf_counter() - began
