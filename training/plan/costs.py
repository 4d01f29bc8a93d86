"""GPU hours, wall-clock hours and dollars of a stage, at the throughput that [plan] states.

Floating-point operations per token of a model with N parameters: 2·N for the forward pass, 4·N more
for the backward pass, 2·N more with gradient checkpointing (Kaplan et al. 2020, section 2.1;
attention's own 2·layers·hidden·length is left out: 2 % of a 70B's at 1,000 tokens). Communication
between GPUs is not counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from training.plan.fit import samplers, trained_from, training_setup
from training.plan.shapes import Unknown, shape_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.config import Config, DpoSection, PlanSection, SftSection
    from training.plan.memory import TrainingSetup
    from training.plan.work import Work

_FORWARD = 2
_BACKWARD = 4
_FROZEN_BACKWARD = 2  # LoRA: gradients of activations, not of the frozen weights
_TERA = 1e12
_HOUR_S = 3600


class Cost(NamedTuple):
    """GPU hours used, wall-clock hours, and dollars for all GPUs during these (None: no price)."""

    gpu_hours: float
    hours: float
    usd: float | None


def training_flops(parameters: int, tokens: float, setup: TrainingSetup) -> float:
    """Return the operations of training: 6·N per token, 8·N with gradient checkpointing."""
    per_parameter = _FORWARD + (_FROZEN_BACKWARD if setup.adapters else _BACKWARD)
    if setup.checkpointing:
        per_parameter += _FORWARD
    return per_parameter * parameters * tokens


def _training_seconds(work: Work, plan: PlanSection, setup: TrainingSetup) -> float:
    """Return the GPU seconds of training, the reference's forward pass included."""
    peak, n = plan.peak_tflops * _TERA, shape_of(work.model).parameters
    trained = training_flops(n, work.trained, setup) / (peak * plan.training_use)
    return trained + _FORWARD * n * work.scored / (peak * plan.prefill_use)


def _sampling_seconds(work: Work, plan: PlanSection) -> float:
    speed = plan.peak_tflops * _TERA * plan.prefill_use
    seconds = _FORWARD * shape_of(work.model).parameters * work.read / speed
    if not work.written:
        return seconds
    if plan.sampling_tokens_per_s is None:
        raise Unknown("plan.sampling_tokens_per_s is not stated")
    return seconds + work.written / plan.sampling_tokens_per_s


def cost_of(config: Config, section: SftSection | DpoSection, work: Iterable[Work]) -> Cost:
    """Return the cost of one stage's work; `section`: how it trains, if it does.

    Raises:
        Unknown: a model's shape, the GPUs or the throughput are not known.
    """
    shape, plan = shape_of(trained_from(config, section)), config.plan
    setup = training_setup(config, section, shape)
    training, sampling = 0.0, 0.0
    for item in work:
        training += _training_seconds(item, plan, setup) / _HOUR_S
        sampling += _sampling_seconds(item, plan) / _HOUR_S
    side_by_side = samplers(config).gpus if sampling else 1
    hours = training / setup.gpus + sampling / side_by_side
    usd = None if plan.gpu_hour_usd is None else hours * plan.gpus * plan.gpu_hour_usd
    return Cost(training + sampling, hours, usd)


def total(costs: Iterable[Cost]) -> Cost:
    """Return the sum; its dollars are None if any cost has no price."""
    found = list(costs)
    money = [cost.usd for cost in found if cost.usd is not None]
    return Cost(
        sum(cost.gpu_hours for cost in found),
        sum(cost.hours for cost in found),
        sum(money) if len(money) == len(found) else None,
    )
