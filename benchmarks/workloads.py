"""The workloads by name, their target ratios, and how they are measured."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.comparison import Row
    from benchmarks.machine import Machine


Dtype = Literal["float32", "bfloat16"]
_BFLOAT16 = "_bf16"


class Workload(NamedTuple):
    """A workload and its target ratio (None: no target).

    `module` is imported only when it is run; it has a function of the workload's name. A name that
    ends in "_bf16" is the workload of the name before it with both sides in bfloat16.
    """

    name: str
    module: str
    target: float | None = None
    what: str = ""

    @property
    def bfloat16(self) -> bool:
        """Whether both sides work in bfloat16."""
        return self.name.endswith(_BFLOAT16)


WORKLOADS = (
    Workload("hellaswag0", "scoring", 1.7, "score HellaSwag, no examples"),
    Workload("arc0", "scoring", 2.5, "score ARC-Challenge, no examples"),
    Workload("arc0_bf16", "scoring", None, "the same in bfloat16"),
    Workload("mmlu5", "scoring", 4.0, "score MMLU, 5 examples"),
    Workload("arc25", "scoring", 12.0, "score ARC-Challenge, 25 examples"),
    Workload("arc25_drawn", "scoring", None, "the same, others for every item"),
    Workload("judge_k3", "sampling", 3.0, "judge, 3 draws of 100 tokens"),
    Workload("judge_k3_bf16", "sampling", None, "the same in bfloat16"),
    Workload("judge_k3_vllm", "sampling", 1.0, "the same against vLLM"),
    Workload("candidates_n4", "sampling", 2.5, "candidates, 4 draws of 128 tokens"),
    Workload("candidates_n4_bf16", "sampling", None, "the same in bfloat16"),
    Workload("candidates_n4_vllm", "sampling", None, "the same against vLLM"),
    Workload("answer_n1", "sampling", None, "one answer of 128 tokens"),
    Workload("answer_n1_bf16", "sampling", None, "the same in bfloat16"),
    Workload("rouge_dedup", "pools", 30.0, "ROUGE-L filter of 10,000 prompts"),
    Workload("dpo_step", "training_steps", 1.5, "train on preference pairs"),
    Workload("dpo_step_bf16", "training_steps", 1.5, "the same in bfloat16"),
    Workload("sft_step", "training_steps", 1.5, "train on judging examples"),
    Workload("sft_step_bf16", "training_steps", 1.5, "the same in bfloat16"),
    Workload("length_control", "length_control", None, "fit the length-controlled win rate"),
)
BY_NAME = {workload.name: workload for workload in WORKLOADS}
GROWTH = "growth"


def measure_of(workload: Workload) -> Callable[[Machine, int], Row]:
    """Return what measures a workload: (machine, repeats) to its row."""
    from importlib import import_module

    module = import_module(f"benchmarks.{workload.module}")
    measure: Callable[..., Row] = getattr(module, workload.name.removesuffix(_BFLOAT16))
    return partial(measure, dtype="bfloat16") if workload.bfloat16 else measure
