"""Direct Preference Optimization by TRL, from M_t with reference M_t (paper, section 3.1.3)."""

from __future__ import annotations

import math
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from datasets import Dataset
from trl import DPOConfig, DPOTrainer

from core.errors import NothingToTrain
from core.store import Built
from engines.models import load_model, load_tokenizer, stop_ids
from training import trl_loop
from training.encoding import Encoder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from transformers import TrainerCallback

    from core.config import DpoSection, ModelSection
    from core.records import LedgerRow
    from training.early_stopping import CheckpointJudge


class Start(NamedTuple):
    """Where DPO starts from, and what it is held close to (None: the start itself)."""

    policy: Path
    reference: Path | None


class PairTrainer(DPOTrainer):  # type: ignore[misc]
    """TRL's DPOTrainer over pairs that are tokenised already, logging response lengths as well.

    TRL would render and tokenise the conversations itself, and include what the chat template puts
    behind the end of turn, which sampling never produces (training/encoding.py).
    """

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Log mean response lengths in tokens, then do what TRL does."""
        lengths = inputs["completion_mask"].sum(dim=1).float()
        chosen, rejected = lengths.chunk(2)
        self._metrics["train"]["lengths/chosen"].append(chosen.mean().item())
        self._metrics["train"]["lengths/rejected"].append(rejected.mean().item())
        return super().compute_loss(model, inputs, *args, **kwargs)


def encode_pairs(
    encoder: Encoder, pairs: Sequence[LedgerRow], max_length: int
) -> tuple[list[dict[str, list[int]]], dict[str, int]]:
    """Return the encoded pairs, and how many were cut or dropped for their length."""
    rows = []
    counts = Counter(
        pairs=len(pairs), cut_response=0, without_end_of_turn=0, dropped_prompt_too_long=0
    )
    for pair in pairs:
        chosen = encoder.encode(pair.prompt, pair.chosen or "", max_length, ended=pair.chosen_ended)
        rejected = encoder.encode(
            pair.prompt, pair.rejected or "", max_length, ended=pair.rejected_ended
        )
        if chosen is None or rejected is None:
            counts["dropped_prompt_too_long"] += 1
            continue
        counts["cut_response"] += chosen.cut + rejected.cut
        counts["without_end_of_turn"] += (chosen.cut or not pair.chosen_ended) + (
            rejected.cut or not pair.rejected_ended
        )
        rows.append(
            {
                "prompt_ids": chosen.prompt_ids,
                "chosen_ids": chosen.response_ids,
                "rejected_ids": rejected.response_ids,
            }
        )
    return rows, dict(counts)


def train_dpo(
    start: Start,
    pairs: Sequence[LedgerRow],
    section: DpoSection,
    *,
    models: ModelSection,
    seed: int,
    device: str,
    work: Path,
    metrics: Path,
    title: str,
    judge: CheckpointJudge | None,
) -> tuple[Path, Built]:
    """Train on preference pairs; return the folder of the new model, and what was done.

    Raises:
        NothingToTrain: there is no pair, or every pair was dropped.
    """
    began = time.monotonic()
    if not pairs:
        raise NothingToTrain(
            f"{title}: no preference pairs; the ledger of the pairs stage says why for each prompt"
        )
    trust = models.trust_remote_code
    tokenizer = load_tokenizer(start.policy, trust_remote_code=trust)
    model = load_model(start.policy, torch.float32, trust_remote_code=trust)
    encoder = Encoder(tokenizer, stop_ids(model, tokenizer))
    rows, counts = encode_pairs(encoder, pairs, section.max_length)
    if not rows:
        raise NothingToTrain(
            f"{title}: none of {len(pairs)} pairs fits dpo.max_length = {section.max_length} tokens"
        )
    reference = None
    if start.reference:
        reference = load_model(start.reference, torch.float32, trust_remote_code=trust)
    dropout = trl_loop.prepare(model, dropout=section.dropout)
    stopping = section.early_stopping
    # Checkpoints serve two ends: going on after a kill, and being compared.
    every = math.gcd(section.checkpoint_steps, stopping.every_steps if judge else 0)
    callbacks: list[TrainerCallback] = [
        trl_loop.CompleteMark(),
        trl_loop.StepLog(metrics, title),
    ]
    if judge:
        callbacks.append(judge.callback(work))
    trainer = PairTrainer(
        model=model,
        ref_model=reference,
        args=DPOConfig(
            **trl_loop.arguments(
                section,
                lr=section.lr,
                lr_min=section.lr_min,
                schedule=section.schedule,
                seed=seed,
                work=work,
                checkpoint_steps=every,
                device=device,
            ),
            beta=section.beta,
            # The paper trains with dropout; TRL would switch it off.
            disable_dropout=False,
            # One pass of the reference before training, without dropout; also spares its memory.
            precompute_ref_log_probs=True,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        callbacks=callbacks,
    )
    if judge is None or not judge.wants_to_stop(trl_loop.last_checkpoint(work)):
        trl_loop.run(trainer, work)
    trained = trainer.model
    steps = trl_loop.step_of(trl_loop.last_checkpoint(work))
    best = judge.best() if judge else None
    if best is not None:
        trained = load_model(best.folder, torch.float32, trust_remote_code=trust)
    built = work / "model"
    trl_loop.save(
        trained, tokenizer, built, dtype=getattr(torch, section.save_dtype), dropout=dropout
    )
    kept_step = best.step if best else steps
    counts |= judge.counts() if judge else {}
    facts = {
        "steps": steps,
        "kept_step": kept_step,
        "beta": section.beta,
        "reference": section.reference,
        "dropout_requested": section.dropout,
        "dropout_applied_to": dropout,
        "at_kept_step": trl_loop.metrics_at(metrics, kept_step),
    }
    return built, Built(
        rows=len(rows), counts=counts, facts=facts, seconds=time.monotonic() - began
    )
