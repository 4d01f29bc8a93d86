"""Supervised fine-tuning by TRL: the SFT baseline and M1 (paper, section 3.1.3)."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from core.errors import NothingToTrain
from core.store import Built
from judges.rubrics import load_rubric

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from core.config import LoraSection, ModelSection, SftSection
    from core.records import Example, JudgeExample
    from training.trainers.encoding import Encoded, Encoder


class SftRow(NamedTuple):
    """One thing to learn: answer `prompt` with `response`."""

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


def train_sft(
    base: Path,
    rows: Sequence[SftRow],
    section: SftSection,
    *,
    models: ModelSection,
    seed: int,
    device: str,
    work: Path,
    metrics: Path,
    title: str,
    lora: LoraSection | None = None,
) -> tuple[Path, Built]:
    """Fine-tune `base` on `rows`; return the folder of the new model, and what was done.

    Loss falls on response tokens only, the end of turn included; the learning rate follows a cosine
    from `section.lr` to `section.lr_min`. Several processes that call it together train one model.

    Raises:
        NothingToTrain: every row was dropped.
    """
    import torch
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from engines.models import load_model, load_tokenizer, stop_ids
    from training.launch.processes import DealtAlike, processes, shard_on_cpu
    from training.trainers import trl_loop, weights
    from training.trainers.encoding import IGNORED, Encoder

    class RowTrainer(DealtAlike, SFTTrainer):  # type: ignore[misc]
        """TRL's SFTTrainer, dealing rows to several processes as to one."""

    began = time.monotonic()
    trust = models.trust_remote_code
    # Made before the model is loaded: how much of it each process loads depends on its group.
    args = SFTConfig(
        **trl_loop.arguments(
            section,
            name="sft",
            lr=section.lr,
            lr_min=section.lr_min,
            schedule="cosine",
            seed=seed,
            work=work,
            checkpoint_steps=section.checkpoint_steps,
            device=device,
        ),
        packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    shard_on_cpu()
    tokenizer = load_tokenizer(base, trust_remote_code=trust)
    model = load_model(base, torch.float32, trust_remote_code=trust)
    encoder = Encoder(tokenizer, stop_ids(model, tokenizer))
    encoded, counts = encode_rows(encoder, rows, section.max_length)
    if not encoded:
        raise NothingToTrain(
            f"{title}: none of {len(rows)} rows fits sft.max_length = {section.max_length} tokens"
        )
    dropout = trl_loop.prepare(model, dropout=section.dropout)
    data = [{"input_ids": e.input_ids, "labels": e.labels} for e in encoded]
    if processes() > 1:
        data.append({"input_ids": [encoder.end_of_turn] * 2, "labels": [IGNORED] * 2})
    trainer = RowTrainer(
        model=model,
        args=args,
        train_dataset=Dataset.from_list(data),
        processing_class=tokenizer,
        peft_config=weights.lora_config(lora),
        callbacks=[trl_loop.CompleteMark(), trl_loop.StepLog(metrics, title)],
    )
    trl_loop.run(trainer, work)
    built = work / "model"
    weights.save_trained(
        trainer,
        tokenizer,
        built,
        start=base,
        lora=lora,
        dtype=getattr(torch, section.save_dtype),
        dropout=dropout,
        trust_remote_code=trust,
    )
    facts = {
        "steps": trainer.state.global_step,
        "mean_loss": trl_loop.mean_loss(metrics),
        "dropout_requested": section.dropout,
        "dropout_applied_to": dropout,
        "loss_tokens": sum(len(e.response_ids) for e in encoded),
        "tokens": sum(len(e.input_ids) for e in encoded),
        "last": trl_loop.metrics_at(metrics, trainer.state.global_step),
    }
    return built, Built(
        rows=len(encoded), counts=counts, facts=facts, seconds=time.monotonic() - began
    )
