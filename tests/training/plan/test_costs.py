from __future__ import annotations

import pytest

from core.plan_config import PlanSection
from training.plan.costs import Cost, cost_of, total, training_flops, training_hours
from training.plan.memory import Adapters, TrainingSetup
from training.plan.shapes import KNOWN, Shape, Unknown, shape_of
from training.plan.work import Work

SEVENTY = KNOWN["llama-2-70b-hf"]
N = SEVENTY.parameters
# A GPU of 100 TFLOP/s, half of it reached; 1 hour reads 1.8e17 / N tokens twice.
PLAN = PlanSection(
    gpus=4,
    peak_tflops=100,
    training_use=0.5,
    prefill_use=0.25,
    sampling_tokens_per_s=100,
    link_gb_per_s=1e6,
    gpu_hour_usd=2,
)
ALONE = TrainingSetup(1, False, 1, 1, 2048, bf16=True, checkpointing=False)
FOUR = ALONE._replace(gpus=4, sharded=True)
BASE = "llama-2-70b-hf"


def cost(
    *work: Work, plan: PlanSection = PLAN, setup: TrainingSetup = ALONE, gpus: float = 1
) -> Cost:
    found = cost_of(work, plan, setup, gpus, shape_of)
    assert isinstance(found, Cost)
    return found


@pytest.mark.parametrize(
    ("setup", "per_parameter"),
    [
        (ALONE, 6),  # 2 forward, 4 backward
        (ALONE._replace(checkpointing=True), 8),  # 2 forward again
        (ALONE._replace(adapters=Adapters(8, ("q_proj",))), 4),  # no gradients of frozen weights
        (ALONE._replace(adapters=Adapters(8, ("q_proj",)), checkpointing=True), 6),
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
    trained = cost(Work(BASE, trained=tokens), setup=FOUR)
    assert trained.gpu_hours == pytest.approx(1)
    assert trained.hours == pytest.approx(0.25)
    sampled = cost(Work(BASE, written=360_000), gpus=2)
    assert (sampled.gpu_hours, sampled.hours) == (1, 0.5)


def test_money_is_for_all_gpus_while_a_stage_runs() -> None:
    # Four GPUs at 2 dollars for the hour that one of them samples.
    assert cost(Work(BASE, written=360_000)).usd == 8
    unpriced = PLAN.model_copy(update={"gpu_hour_usd": None})
    assert cost(Work(BASE, written=360_000), plan=unpriced).usd is None


def slow_link(shape: Shape, work: Work, setup: TrainingSetup) -> float:
    """Return the seconds of training when a GPU receives 1 GB/s and computes at once."""
    plan = PLAN.model_copy(update={"link_gb_per_s": 1.0, "peak_tflops": 1e9})
    return training_hours(shape, work, plan, setup) * 3600


def test_sharded_training_takes_at_least_as_long_as_its_traffic() -> None:
    # 80 rows, 2 in each of 4 GPUs: 10 passes. Each GPU lacks 3/4 of the weights, 2 bytes each, and
    # receives them to read, again for the backward pass, and as many gradients.
    work = Work(BASE, trained=1.0, trained_rows=80)
    two = FOUR._replace(rows=2)
    assert slow_link(SEVENTY, work, two) == pytest.approx(10 * 3 * 2 * 0.75 * N / 1e9)
    # Without gradients of the weights twice; in fp32 with 4 bytes.
    frozen = two._replace(adapters=Adapters(8, ("q_proj",)))
    assert slow_link(SEVENTY, work, frozen) == pytest.approx(10 * 2 * 2 * 0.75 * N / 1e9)
    wide = two._replace(bf16=False)
    assert slow_link(SEVENTY, work, wide) == pytest.approx(10 * 3 * 4 * 0.75 * N / 1e9)


def test_a_reference_pass_fetches_the_weights_once() -> None:
    work = Work(BASE, scored=1.0, scored_rows=40)
    assert slow_link(SEVENTY, work, FOUR) == pytest.approx(10 * 2 * 0.75 * N / 1e9)


def test_gpus_that_share_nothing_exchange_gradients_only() -> None:
    work = Work(BASE, trained=1.0, trained_rows=40)
    copies = FOUR._replace(sharded=False)
    # 10 passes; fp32 gradients there and back.
    assert slow_link(SEVENTY, work, copies) == pytest.approx(10 * 2 * 4 * 0.75 * N / 1e9)
    assert slow_link(SEVENTY, work, ALONE) == pytest.approx(0, abs=1e-3)


def test_arithmetic_and_traffic_overlap() -> None:
    # An hour of arithmetic hides any traffic that is shorter.
    work = Work(BASE, trained=4 * 1.8e17 / (6 * N), trained_rows=4)
    plan = PLAN.model_copy(update={"link_gb_per_s": 1000.0})
    assert training_hours(SEVENTY, work, plan, FOUR) == pytest.approx(1)


def test_what_is_not_known_is_said() -> None:
    def reason(*work: Work, plan: PlanSection = PLAN, gpus: float | Unknown = 1) -> str:
        found = cost_of(work, plan, ALONE, gpus, shape_of)
        assert isinstance(found, Unknown)
        return found.reason

    assert "models/mine" in reason(Work("models/mine", read=1.0))
    unstated = PLAN.model_copy(update={"sampling_tokens_per_s": None})
    assert "plan.sampling_tokens_per_s" in reason(Work(BASE, written=1.0), plan=unstated)
    assert reason(Work(BASE, read=1.0), gpus=Unknown("no GPU samples")) == "no GPU samples"
    # Training alone needs none of these.
    assert isinstance(
        cost_of([Work(BASE, trained=1.0)], unstated, ALONE, Unknown("no GPU samples"), shape_of),
        Cost,
    )


def test_a_sum_of_dollars_needs_all_of_them() -> None:
    assert total([Cost(1, 2, 3), Cost(1, 2, 3)]) == Cost(2, 4, 6)
    assert total([Cost(1, 2, 3), Cost(1, 2, None)]) == Cost(2, 4, None)
    assert total([]) == Cost(0, 0, 0)
