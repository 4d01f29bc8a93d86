"""Direct Preference Optimization by TRL, from M_t with reference M_t (paper, section 3.1.3)."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from trl import DPOConfig, DPOTrainer

from core.errors import NothingToTrain
from engines.models import load_model, load_tokenizer, stop_ids
from training.launch.processes import DealtAlike, is_first, processes, shard_on_cpu, shards_weights
from training.trainers import trl_loop, weights
from training.trainers.encoding import Encoder
from training.trainers.learnt import Learnt, choose
from training.trainers.references import data_set, digest_of, reference_model

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from datasets import Dataset
    from transformers import TrainerCallback

    from core.config import DpoSection, LoraSection, ModelSection
    from core.records import LedgerRow
    from core.store import Built
    from training.trainers.early_stopping import CheckpointJudge


class Start(NamedTuple):
    """Where DPO starts from, and what it is held close to (None: the start itself)."""

    policy: Path
    reference: Path | None


# What TRL averages over the pairs of all processes; an empty pair adds 0 to each.
_PER_PAIR = (
    "rewards/chosen",
    "rewards/rejected",
    "rewards/accuracies",
    "rewards/margins",
    "logps/chosen",
    "logps/rejected",
)


class PairTrainer(DealtAlike, DPOTrainer):  # type: ignore[misc]
    """TRL's DPOTrainer over pairs that are tokenised already, logging response lengths as well.

    TRL would render and tokenise the conversations itself, and include what the chat template puts
    behind the end of turn, which sampling never produces (training/trainers/encoding.py).

    Empty pairs, with which the last turn of an epoch is filled for several processes, change
    neither the loss nor what is logged.
    """

    _weight = 1.0

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
        """Return one step's micro-batches, noting how many of all processes' hold a pair."""
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        if processes() > 1:
            filled = sum(bool(batch["completion_mask"].any()) for batch in batches)
            everywhere = self.accelerator.reduce(torch.tensor(filled, device=device), "sum")
            self._weight = len(batches) * processes() / everywhere.item()
        return batches, items

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Log mean response lengths in tokens, then do what TRL does."""
        lengths = inputs["completion_mask"].sum(dim=1).float()
        chosen, rejected = lengths.chunk(2)
        everyone = self.accelerator.gather(torch.stack([chosen, rejected], dim=1))
        pairs = everyone[everyone[:, 0] > 0]
        self._metrics["train"]["lengths/chosen"].append(pairs[:, 0].mean().item())
        self._metrics["train"]["lengths/rejected"].append(pairs[:, 1].mean().item())
        loss = super().compute_loss(model, inputs, *args, **kwargs)
        if processes() == 1:
            return loss
        for name in _PER_PAIR:
            self._metrics["train"][name][-1] *= len(everyone) / len(pairs)
        return self._weight * _without_empty(loss, int((chosen > 0).sum()), len(chosen))

    def look_up(self, reference: Any, digest: str) -> None:
        """Compute the reference's log-probabilities of every pair once, then let it go.

        TRL does so itself where the policy is whole in every process. `digest` names the
        reference: a resumed run takes what was computed before.
        """
        self.ref_model, self._precompute_model_hash = reference, digest
        self.precompute_ref_logps = True
        self.train_dataset = self._precompute_ref_logps(
            self.train_dataset, "train", self.args.per_device_train_batch_size
        )
        self.ref_model = None


def _without_empty(loss: torch.Tensor, pairs: int, size: int) -> torch.Tensor:
    """Return the mean loss over the `pairs` of a micro-batch of `size`; 0 if it has none.

    An empty pair has no tokens, so its log ratios are 0 and its loss is -log sigmoid(0).
    """
    if pairs == 0:
        return 0.0 * loss
    empty = -torch.nn.functional.logsigmoid(loss.new_zeros(()))
    return (size * loss - (size - pairs) * empty) / pairs


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
    lora: LoraSection | None = None,
) -> tuple[Path, Built]:
    """Train on preference pairs; return the folder of the new model, and what was done.

    Raises:
        NothingToTrain: there is no pair, or every pair was dropped.
    """
    began = time.monotonic()
    learnt = learn(
        start,
        pairs,
        section,
        models=models,
        seed=seed,
        device=device,
        work=work,
        metrics=metrics,
        title=title,
        judge=judge,
        lora=lora,
    )
    trust = models.trust_remote_code
    built, result = choose(learnt, section, work, metrics, judge, trust_remote_code=trust)
    return built, replace(result, seconds=time.monotonic() - began)


def learn(
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
    lora: LoraSection | None,
    pausing: bool = False,
) -> Learnt:
    """Train on preference pairs, leaving checkpoints and, where none is judged, `work/model`.

    `pausing`: return at the next checkpoint that somebody else is to judge. Several processes that
    call it together train one model.

    Raises:
        NothingToTrain: there is no pair, or every pair was dropped.
    """
    if not pairs:
        raise NothingToTrain(
            f"{title}: no preference pairs; the ledger of the pairs stage says why for each prompt"
        )
    trust, judged = models.trust_remote_code, judge is not None or pausing
    every = section.early_stopping.every_steps if judged else 0
    # Made before the model is loaded: how much of it each process loads depends on its group.
    args = DPOConfig(
        **trl_loop.arguments(
            section,
            name="dpo",
            lr=section.lr,
            lr_min=section.lr_min,
            schedule=section.schedule,
            seed=seed,
            work=work,
            # Checkpoints serve two ends: going on after a kill, and being compared.
            checkpoint_steps=math.gcd(section.checkpoint_steps, every),
            device=device,
        ),
        beta=section.beta,
        # The paper trains with dropout; TRL would switch it off.
        disable_dropout=False,
        # One pass of the reference before training, without dropout; also spares its memory.
        precompute_ref_log_probs=not shards_weights(),
    )
    shard_on_cpu()
    tokenizer = load_tokenizer(start.policy, trust_remote_code=trust)
    model = load_model(start.policy, torch.float32, trust_remote_code=trust)
    encoder = Encoder(tokenizer, stop_ids(model, tokenizer))
    rows, counts = encode_pairs(encoder, pairs, section.max_length)
    if not rows:
        raise NothingToTrain(
            f"{title}: none of {len(pairs)} pairs fits dpo.max_length = {section.max_length} tokens"
        )
    dropout = trl_loop.prepare(model, dropout=section.dropout)
    whole = weights.WholeModel(start.policy, lora, tokenizer, every=every, trust_remote_code=trust)
    callbacks: list[TrainerCallback] = [
        *([whole] if judged and (pausing or lora) else []),
        trl_loop.CompleteMark(),
        trl_loop.StepLog(metrics, title),
        *([judge.callback(work)] if judge else []),
        *([trl_loop.Pause(every)] if pausing else []),
    ]
    reference = reference_model(start, args, trust_remote_code=trust)
    trainer = PairTrainer(
        model=model,
        ref_model=reference,
        args=args,
        train_dataset=data_set(rows, encoder.end_of_turn, work),
        processing_class=tokenizer,
        peft_config=weights.lora_config(lora),
        callbacks=callbacks,
    )
    whole.trainer = trainer
    if shards_weights():
        trainer.look_up(reference, digest_of(start.reference or start.policy))
    learnt = Learnt(len(rows), counts, dropout)
    if pausing and is_first():
        learnt.write(work)
    if judge is None or not judge.wants_to_stop(trl_loop.last_checkpoint(work)):
        trl_loop.run(trainer, work)
    if not judged:
        weights.save_trained(
            trainer,
            tokenizer,
            work / "model",
            start=start.policy,
            lora=lora,
            dtype=getattr(torch, section.save_dtype),
            dropout=dropout,
            trust_remote_code=trust,
        )
    return learnt
