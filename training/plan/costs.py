"""GPU hours, wall-clock and money of a stage, at the throughput that [plan] states.

Floating-point operations per token of a model with N parameters: 2·N to read it, 4·N more to train
on it, 2·N more when activations are computed again (Kaplan et al. 2020, section 2.1; attention's
own 2·layers·hidden·length to read is left out: 2 % of a 70B's at 1,000 tokens).

Training with sharded weights is slow where batches are small: each pass of each GPU fetches the
whole model. So training takes the longer of arithmetic and traffic, as if they overlapped fully.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from training.plan.shapes import Unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from core.plan_config import PlanSection
    from training.plan.memory import TrainingSetup
    from training.plan.shapes import Shape
    from training.plan.work import Work

_FORWARD = 2
_BACKWARD = 4
_FROZEN_BACKWARD = 2  # LoRA: gradients of activations, not of the frozen weights
_FP32, _BF16 = 4, 2
_GIGA, _TERA = 1e9, 1e12
_HOUR_S = 3600


class Cost(NamedTuple):
    """GPU hours used, hours until done, and dollars for all GPUs during these (None: no price)."""

    gpu_hours: float
    hours: float
    usd: float | None


def training_flops(parameters: int, tokens: float, setup: TrainingSetup) -> float:
    """Return the operations of training on so many tokens: 6·N each, 8·N with recomputation."""
    per_parameter = _FORWARD + (_FROZEN_BACKWARD if setup.adapters else _BACKWARD)
    if setup.checkpointing:
        per_parameter += _FORWARD
    return per_parameter * parameters * tokens


def reading_flops(parameters: int, tokens: float) -> float:
    """Return the operations of a forward pass over so many tokens."""
    return _FORWARD * parameters * tokens


def training_hours(shape: Shape, work: Work, plan: PlanSection, setup: TrainingSetup) -> float:
    """Return the hours until a training stage's own passes are done, the reference's included."""
    n, speed = shape.parameters, plan.peak_tflops * _TERA * setup.gpus
    arithmetic = training_flops(n, work.trained, setup) / (speed * plan.training_use)
    reading = reading_flops(n, work.scored) / (speed * plan.prefill_use)
    gathers, scored = _traffic(shape, setup)
    together = setup.gpus * setup.rows
    link = plan.link_gb_per_s * _GIGA
    training = max(arithmetic, work.trained_rows / together * gathers / link)
    return (training + max(reading, work.scored_rows / together * scored / link)) / _HOUR_S


def _traffic(shape: Shape, setup: TrainingSetup) -> tuple[float, float]:
    """Return the bytes each GPU receives for one micro-batch: in training, and to be read only.

    Sharded: the weights once to read, again for the backward pass, and as many gradients to add up
    (none for frozen weights). In one piece, with several GPUs: gradients in fp32, there and back.
    """
    if setup.gpus == 1:
        return 0.0, 0.0
    whole = shape.parameters * (setup.gpus - 1) / setup.gpus
    if setup.sharded:
        once = whole * (_BF16 if setup.bf16 else _FP32)
        return once * (2 if setup.adapters else 3), once
    trained = shape.parameters
    if setup.adapters:
        trained = shape.lora_parameters(setup.adapters.rank, setup.adapters.targets)
    return 2 * _FP32 * trained * (setup.gpus - 1) / setup.gpus, 0.0


def sampling_gpu_hours(shape: Shape, work: Work, plan: PlanSection) -> float | Unknown:
    """Return the GPU hours of reading prompts and of sampling, or why they are not known."""
    speed = plan.peak_tflops * _TERA * plan.prefill_use
    seconds = reading_flops(shape.parameters, work.read) / speed
    if work.written:
        if plan.sampling_tokens_per_s is None:
            return Unknown("plan.sampling_tokens_per_s is not stated")
        seconds += work.written / plan.sampling_tokens_per_s
    return seconds / _HOUR_S


def cost_of(
    work: Iterable[Work],
    plan: PlanSection,
    setup: TrainingSetup,
    sampling_gpus: float | Unknown,
    shape_of: Callable[[str], Shape | Unknown],
) -> Cost | Unknown:
    """Return the cost of one stage's work, or why it is not known.

    Args:
        work: of each model that the stage uses.
        plan: hardware, throughput and price.
        setup: how the stage trains, if it does.
        sampling_gpus: that sample side by side.
        shape_of: finds a model's shape.
    """
    training, sampling = 0.0, 0.0
    for item in work:
        shape = shape_of(item.model)
        if isinstance(shape, Unknown):
            return shape
        training += training_hours(shape, item, plan, setup)
        sampled = sampling_gpu_hours(shape, item, plan)
        if isinstance(sampled, Unknown):
            return sampled
        sampling += sampled
    if isinstance(sampling_gpus, Unknown):
        if sampling:
            return sampling_gpus
        sampling_gpus = 1
    hours = training + sampling / sampling_gpus
    usd = None if plan.gpu_hour_usd is None else hours * plan.gpus * plan.gpu_hour_usd
    return Cost(training * setup.gpus + sampling, hours, usd)


def total(costs: Iterable[Cost]) -> Cost:
    """Return the sum; its dollars are None as soon as one's are."""
    found = list(costs)
    money = [cost.usd for cost in found if cost.usd is not None]
    return Cost(
        sum(cost.gpu_hours for cost in found),
        sum(cost.hours for cost in found),
        sum(money) if len(money) == len(found) else None,
    )
