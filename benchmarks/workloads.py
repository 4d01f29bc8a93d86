"""The workloads by name, their target ratios, and how they are measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.comparison import Row
    from benchmarks.machine import Machine


class Workload(NamedTuple):
    """A workload and its target ratio (None: no target).

    `module` is imported only when it is run; it has a function of the workload's name.
    """

    name: str
    module: str
    target: float | None = None
    what: str = ""


WORKLOADS = (
    Workload("hellaswag0", "scoring", 1.7, "score HellaSwag, no examples"),
    Workload("arc0", "scoring", 2.5, "score ARC-Challenge, no examples"),
    Workload("mmlu5", "scoring", 4.0, "score MMLU, 5 examples"),
    Workload("arc25", "scoring", 12.0, "score ARC-Challenge, 25 examples"),
    Workload("arc25_drawn", "scoring", None, "the same, others for every item"),
    Workload("judge_k3", "sampling", 3.0, "judge, 3 draws of 100 tokens"),
    Workload("judge_k3_vllm", "sampling", 1.0, "the same against vLLM"),
    Workload("candidates_n4", "sampling", 2.5, "candidates, 4 draws of 128 tokens"),
    Workload("candidates_n4_vllm", "sampling", None, "the same against vLLM"),
    Workload("answer_n1", "sampling", None, "one answer of 128 tokens"),
    Workload("rouge_dedup", "pools", 30.0, "ROUGE-L filter of 10,000 prompts"),
    Workload("dpo_step", "training_steps", 1.5, "train on preference pairs"),
    Workload("sft_step", "training_steps", 1.5, "train on judging examples"),
    Workload("length_control", "length_control", None, "fit the length-controlled win rate"),
)
BY_NAME = {workload.name: workload for workload in WORKLOADS}
GROWTH = "growth"


def measure_of(workload: Workload) -> Callable[[Machine, int], Row]:
    """Return what measures a workload: (machine, repeats) to its row."""
    from importlib import import_module

    module = import_module(f"benchmarks.{workload.module}")
    measure: Callable[[Machine, int], Row] = getattr(module, workload.name)
    return measure
