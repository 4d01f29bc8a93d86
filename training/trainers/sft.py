"""Supervised fine-tuning by TRL: the SFT baseline and M1 (paper, section 3.1.3)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from core.errors import NothingToTrain
from core.store import Built
from judges.rubrics import load_rubric

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from core.records import Example, JudgeExample
    from training.trainers.encoding import Encoded, Encoder
    from training.trainers.job import TrainingJob


class SftRow(NamedTuple):
    """One training example: `prompt` answered with `response`."""

    prompt: str
    response: str
    ended: bool = True


def ift_rows(examples: Iterable[Example]) -> list[SftRow]:
    """Return instruction-following rows."""
    return [SftRow(e.prompt, e.response, e.ended) for e in examples]


def eft_rows(examples: Iterable[JudgeExample], rubric_name: str) -> list[SftRow]:
    """Return judging rows: the rubric filled in, answered by justification and score."""
    rubric = load_rubric(rubric_name)
    return [SftRow(rubric.render(e.prompt, e.response), e.target) for e in examples]


def encode_rows(
    encoder: Encoder, rows: Sequence[SftRow], max_length: int
) -> tuple[list[Encoded], dict[str, int]]:
    """Return the encoded rows, and how many were cut or dropped for their length."""
    encoded = []
    counts = Counter(
        rows=len(rows), cut_response=0, without_end_of_turn=0, dropped_prompt_too_long=0
    )
    for row in rows:
        item = encoder.encode(row.prompt, row.response, max_length, ended=row.ended)
        if item is None:
            counts["dropped_prompt_too_long"] += 1
            continue
        counts["cut_response"] += item.cut
        counts["without_end_of_turn"] += item.cut or not row.ended
        encoded.append(item)
    return encoded, dict(counts)


def train_sft(job: TrainingJob, rows: Sequence[SftRow]) -> Built:
    """Fine-tune `job.policy` on `rows` into `job.model`; return what was done.

    The loss is computed on response tokens only, the end of turn included; the learning rate
    follows a cosine from `sft.lr` to `sft.lr_min`. Several processes that call it together train
    one model.

    Raises:
        NothingToTrain: every row was dropped.
    """
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from training.launch.processes import EvenShards, processes
    from training.trainers import trl_loop, weights
    from training.trainers.encoding import IGNORED

    class RowTrainer(EvenShards, SFTTrainer):  # type: ignore[misc]
        """TRL's SFTTrainer, with the batches of one process in any number of processes."""

    section = job.section
    args = SFTConfig(
        **trl_loop.arguments(job, schedule="cosine", checkpoint_steps=section.checkpoint_steps),
        packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    policy = trl_loop.load_policy(job)
    encoded, counts = encode_rows(policy.encoder, rows, section.max_length)
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
