"""Supervised fine-tuning by TRL: the SFT baseline and M1 (paper, section 3.1.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import NothingToTrain
from core.store import Built
from judges.rubrics import load_rubric
from training.trainers.encoding import IGNORED, Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from core.records import Example, JudgeExample
    from training.trainers.job import TrainingJob


def ift_rows(examples: Iterable[Example]) -> list[Row]:
    """Return instruction-following rows."""
    return [Row(e.prompt, e.response, e.ended, e.before) for e in examples]


def eft_rows(examples: Iterable[JudgeExample], rubric_name: str) -> list[Row]:
    """Return judging rows: the rubric filled in, answered by justification and score."""
    rubric = load_rubric(rubric_name)
    return [Row(rubric.render(e.prompt, e.response), e.target) for e in examples]


def train_sft(job: TrainingJob, rows: Sequence[Row]) -> Built:
    """Fine-tune `job.policy` on `rows` into `job.model`; return what was done.

    The loss is computed on response tokens only, the end of turn included; the learning rate
    follows a cosine from `sft.lr` to `sft.lr_min`. Several processes that call it together train
    one model.

    Raises:
        NothingToTrain: every row was dropped.
    """
    from engines.models import release_memory

    built = _train(job, rows)
    release_memory()
    return built


def _train(job: TrainingJob, rows: Sequence[Row]) -> Built:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from training.launch.processes import EvenShards, processes
    from training.trainers import trl_loop, weights

    class RowTrainer(EvenShards, SFTTrainer):  # type: ignore[misc]
        """TRL's SFTTrainer, with the batches of one process in any number of processes."""

    section = job.section
    args = SFTConfig(
        **trl_loop.arguments(job, schedule="cosine", checkpoint_steps=section.checkpoint_steps),
        packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    trl_loop.on_one_gpu(args)
    policy = trl_loop.load_policy(job)
    examples, counts = policy.encoder.encode_all("rows", [(row,) for row in rows], args.max_length)
    encoded = [example[0] for example in examples if example]
    if not encoded:
        raise NothingToTrain(
            f"{job.title}: none of {len(rows)} rows fits sft.max_length = {section.max_length} "
            "tokens"
        )
    data = [{"input_ids": e.input_ids, "labels": e.labels} for e in encoded]
    if processes() > 1:
        data.append({"input_ids": [policy.encoder.end_of_turn] * 2, "labels": [IGNORED] * 2})
    trainer = RowTrainer(
        model=policy.model,
        args=args,
        train_dataset=Dataset.from_list(data),
        processing_class=policy.tokenizer,
        peft_config=weights.lora_config(job.lora),
        callbacks=[trl_loop.CompleteMark(), trl_loop.StepLog(job)],
    )
    trl_loop.run(trainer, job.work)
    weights.save_trained(trainer, job, policy.dropout)
    steps = trainer.state.global_step
    facts = {
        "steps": steps,
        "mean_loss": trl_loop.mean_loss(job.metrics),
        "dropout_requested": section.dropout,
        "dropout_applied_to": policy.dropout,
        "loss_tokens": sum(len(e.response_ids) for e in encoded),
        "tokens": sum(len(e.input_ids) for e in encoded),
        "last": trl_loop.metrics_at(job.metrics, steps),
    }
    return Built(rows=len(encoded), counts=counts, facts=facts)
