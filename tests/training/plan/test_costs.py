from __future__ import annotations

from typing import Any

import pytest

from core.config import Config, DpoSection, EngineSection, LaunchSection, ModelSection, PlanSection
from training.plan.costs import Cost, cost_of, total, training_flops
from training.plan.memory import TrainingSetup
from training.plan.shapes import KNOWN, Unknown
from training.plan.work import Work

N = KNOWN["llama-2-70b-hf"].parameters
# A GPU of 100 TFLOP/s, half of it reached; 1 hour reads 1.8e17 / N tokens twice.
PLAN = PlanSection(
    gpus=4,
    peak_tflops=100,
    training_use=0.5,
    prefill_use=0.25,
    sampling_tokens_per_s=100,
    gpu_hour_usd=2,
)
ALONE = TrainingSetup(1, False, 1, 1, 2048, bf16=True, checkpointing=False)
FOUR = LaunchSection(config="fsdp-8", processes=4)
BASE = "llama-2-70b-hf"


def cost(*work: Work, plan: PlanSection = PLAN, **sections: Any) -> Cost:
    config = Config(model=ModelSection(base=BASE), plan=plan, **sections)
    return cost_of(config, DpoSection(), work)


@pytest.mark.parametrize(
    ("setup", "per_parameter"),
    [
        (ALONE, 6),  # 2 forward, 4 backward
        (ALONE._replace(checkpointing=True), 8),  # 2 forward again
        (ALONE._replace(adapters=1), 4),  # no gradients of frozen weights
        (ALONE._replace(adapters=1, checkpointing=True), 6),
    ],
)
def test_operations_of_training_per_parameter_and_token(
    setup: TrainingSetup, per_parameter: int
) -> None:
    assert training_flops(10, 1000, setup) == per_parameter * 10 * 1000


def test_an_hour_of_training_by_hand() -> None:
    # 5e13 operations/s for an hour are 1.8e17; each token takes 6·N.
    tokens = 1.8e17 / (6 * N)
    assert cost(Work(BASE, trained=tokens)).gpu_hours == pytest.approx(1)


def test_the_reference_reads_at_the_speed_of_reading() -> None:
    # 2.5e13 operations/s: 9e16 an hour; 2·N a token.
    tokens = 9e16 / (2 * N)
    assert cost(Work(BASE, scored=tokens)).gpu_hours == pytest.approx(1)
    assert cost(Work(BASE, read=tokens)).gpu_hours == pytest.approx(1)


def test_sampling_goes_by_the_stated_tokens_per_second() -> None:
    # 100 tokens a second: 360,000 an hour on one GPU, whatever the model.
    assert cost(Work(BASE, written=360_000)).gpu_hours == 1
    assert cost(Work("embedded", written=360_000)).gpu_hours == 1


def test_more_gpus_shorten_the_wall_clock_and_not_the_gpu_hours() -> None:
    tokens = 1.8e17 / (6 * N)
    trained = cost(Work(BASE, trained=tokens), launch=FOUR)
    assert trained.gpu_hours == pytest.approx(1)
    assert trained.hours == pytest.approx(0.25)
    sampled = cost(
        Work(BASE, written=360_000), engine=EngineSection(kind="vllm", tensor_parallel=2)
    )
    assert (sampled.gpu_hours, sampled.hours) == (1, 0.5)


def test_money_is_for_all_gpus_while_a_stage_runs() -> None:
    # Four GPUs at 2 dollars for the hour that one of them samples.
    assert cost(Work(BASE, written=360_000)).usd == 8
    unpriced = PLAN.model_copy(update={"gpu_hour_usd": None})
    assert cost(Work(BASE, written=360_000), plan=unpriced).usd is None


def test_unknown_inputs_are_named() -> None:
    with pytest.raises(Unknown, match="models/mine"):
        cost(Work("models/mine", read=1.0))
    unstated = PLAN.model_copy(update={"sampling_tokens_per_s": None})
    with pytest.raises(Unknown, match=r"plan\.sampling_tokens_per_s"):
        cost(Work(BASE, written=1.0), plan=unstated)
    no_gpu = EngineSection(device="cpu")
    with pytest.raises(Unknown, match="no GPU samples"):
        cost(Work(BASE, read=1.0), engine=no_gpu)
    # Training alone needs none of these.
    assert cost(Work(BASE, trained=1.0), plan=unstated, engine=no_gpu).gpu_hours > 0


def test_a_sum_of_dollars_needs_all_of_them() -> None:
    assert total([Cost(1, 2, 3), Cost(1, 2, 3)]) == Cost(2, 4, 6)
    assert total([Cost(1, 2, 3), Cost(1, 2, None)]) == Cost(2, 4, None)
    assert total([]) == Cost(0, 0, 0)
