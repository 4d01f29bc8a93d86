"""DPO and other preference objectives by TRL, from M_t with reference M_t (section 3.1.3)."""

from __future__ import annotations

import json
import math
import shutil
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from datasets import Dataset, load_from_disk
from trl import DPOConfig, DPOTrainer

from core.config import AVERAGED
from core.errors import NothingToTrain, disk_errors_named
from core.hashing import model_files, sha256_file, sha256_json
from core.store import Built, write_atomically
from engines.models import load_model, load_tokenizer, release_memory
from training.launch.processes import (
    EvenShards,
    is_first,
    keep_sums_in_fp32,
    processes,
    shards_weights,
    wait_for_all,
)
from training.trainers import trl_loop, weights
from training.trainers.encoding import Row
from training.trainers.log_probs import score_on_cpu
from training.trainers.objectives import (
    Answers,
    Pairs,
    losses,
    rewards,
    token_weights,
    wpo_weights,
)
from training.trainers.packed import pack_rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from core.config import DpoSection
    from core.records import LedgerRow
    from training.trainers.early_stopping import CheckpointJudge
    from training.trainers.encoding import Encoder
    from training.trainers.job import TrainingJob

_CONFIDENCE = "confidence"  # the column of `Pairs.confidence`, if the pairs have one
_RESULT = "learnt.json"  # the name in folders of runs that were started by older versions
# Metrics that TRL averages over the pairs of all processes; an empty pair adds 0 to each.
_PER_PAIR = (
    "rewards/chosen",
    "rewards/rejected",
    "rewards/accuracies",
    "rewards/margins",
    "logps/chosen",
    "logps/rejected",
)


class _Noted:
    """A model whose last outputs are kept: TRL runs it, the objective reads the same outputs."""

    outputs: Any = None

    def __init__(self, model: Any) -> None:
        self._model = model

    def __call__(self, **given: Any) -> Any:
        self.outputs = self._model(**given)
        return self.outputs


class _WithConfidence:
    """A collator that keeps the column which TRL's does not know."""

    def __init__(self, collate: Any) -> None:
        self._collate = collate

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        given = torch.tensor([example[_CONFIDENCE] for example in examples])
        return {**self._collate(examples), _CONFIDENCE: given}


class PairTrainer(EvenShards, DPOTrainer):  # type: ignore[misc]
    """TRL's DPOTrainer over tokenised pairs, with the losses of training/trainers/objectives.py.

    TRL would render and tokenise the conversations itself, and include what the chat template puts
    after the end of turn, which sampling never produces (training/trainers/encoding.py). It still
    runs the models and logs its metrics; response lengths are logged as well.

    Empty pairs, which pad the last batch of an epoch for several processes, change neither the loss
    nor the logged metrics.
    """

    _weight = 1.0
    data_collator: Any

    def __init__(self, section: DpoSection, **given: Any) -> None:
        """`section`: the objective; `given`: the arguments of TRL's trainer."""
        self._section = section
        super().__init__(**given)
        if _CONFIDENCE in self.train_dataset.column_names:
            self.data_collator = _WithConfidence(self.data_collator)

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
        """Return one step's micro-batches; note the share that holds a pair, in all processes."""
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        if processes() > 1:
            filled = sum(bool(batch["completion_mask"].any()) for batch in batches)
            everywhere = self.accelerator.reduce(torch.tensor(filled, device=device), "sum")
            self._weight = len(batches) * processes() / everywhere.item()
        return batches, items

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Return the mean loss of the micro-batch's pairs; 0 if it holds none."""
        noted, given = _Noted(model), _without_confidence(inputs)
        super().compute_loss(noted, given, *args, **kwargs)  # metrics; its loss is plain DPO
        pairs = self._pairs(noted.outputs, inputs)
        each = losses(self._section, pairs, self._weights(noted.outputs, inputs))
        real = pairs.chosen.tokens > 0
        self._log(pairs, real)
        loss = each[real].mean() if bool(real.any()) else 0.0 * each.sum()
        if self.aux_loss_enabled:
            loss = loss + self.router_aux_loss_coef * noted.outputs.aux_loss
        return self._weight * loss

    def _pairs(self, outputs: Any, inputs: dict[str, Any]) -> Pairs:
        mask, tail = inputs["completion_mask"][:, 1:], self._section.ld_alpha
        each = outputs.log_probs[:, -mask.shape[1] :]
        likelihood = each.sum(dim=1)
        policy = likelihood if tail == 1 else (each * token_weights(mask, tail)).sum(dim=1)
        reference = torch.cat([inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]])
        columns = (policy, reference, likelihood, mask.sum(dim=1))
        chosen, rejected = zip(*(column.chunk(2) for column in columns), strict=True)
        return Pairs(Answers(*chosen), Answers(*rejected), inputs.get(_CONFIDENCE))

    def _weights(self, outputs: Any, inputs: dict[str, Any]) -> torch.Tensor | None:
        if self._section.weighting == "none":
            return None
        mask = inputs["completion_mask"][:, 1:]
        aligned = outputs.log_probs.detach() - outputs.log_sum_sq_probs
        return wpo_weights(aligned[:, -mask.shape[1] :], mask)

    def _log(self, pairs: Pairs, real: torch.Tensor) -> None:
        """Log mean response lengths in tokens; correct TRL's means, which include empty pairs.

        Where the loss averages over tokens, rewards do so, too.
        """
        log, everyone = self._metrics["train"], self.accelerator.gather(real)

        def mean(values: torch.Tensor) -> float:
            return float(self.accelerator.gather(values.float())[everyone].mean())

        log["lengths/chosen"].append(mean(pairs.chosen.tokens))
        log["lengths/rejected"].append(mean(pairs.rejected.tokens))
        if processes() > 1:
            for name in _PER_PAIR:
                log[name][-1] *= len(everyone) / int(everyone.sum())
        if self._section.loss in AVERAGED:
            for name, values in self._averaged(pairs).items():
                log[name][-1] = mean(values)

    def _averaged(self, pairs: Pairs) -> dict[str, torch.Tensor]:
        chosen, rejected = (self._section.beta * r.detach() for r in rewards(self._section, pairs))
        return {
            "rewards/chosen": chosen,
            "rewards/rejected": rejected,
            "rewards/accuracies": chosen > rejected,
            "rewards/margins": chosen - rejected,
        }

    def compute_ref_log_probs(self, model: Any, inputs: dict[str, Any]) -> Any:
        """Return the reference's log-probabilities of chosen and rejected answers."""
        return super().compute_ref_log_probs(model, _without_confidence(inputs))

    def _precompute_ref_logps(self, dataset: Dataset, *given: Any) -> Dataset:
        if self._section.loss != "simpo":
            return super()._precompute_ref_logps(dataset, *given)
        none = [0.0] * len(dataset)  # SimPO has no reference
        return dataset.add_column("ref_chosen_logps", none).add_column("ref_rejected_logps", none)

    def precompute_reference(self, reference: Any, digest: str) -> None:
        """Compute the reference's log-probabilities of every pair once, then free the reference.

        TRL does so itself unless the weights are sharded. `digest` identifies the reference, so
        that a resumed run uses the cached values.
        """
        self.ref_model, self._precompute_model_hash = reference, digest
        self.precompute_ref_logps = True
        self.train_dataset = self._precompute_ref_logps(
            self.train_dataset, "train", self.args.per_device_train_batch_size
        )
        self.ref_model = None


def _without_confidence(inputs: dict[str, Any]) -> dict[str, Any]:
    """Return a batch without what TRL would hand to the model."""
    return {name: value for name, value in inputs.items() if name != _CONFIDENCE}


def encode_pairs(
    encoder: Encoder, pairs: Sequence[LedgerRow], max_length: int
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Return the encoded pairs, and how many were cut or dropped for their length.

    If any pair has a confidence, all have: 1 where it is not said.
    """
    examples = [
        (
            Row(pair.prompt, pair.chosen or "", pair.chosen_ended, pair.before),
            Row(pair.prompt, pair.rejected or "", pair.rejected_ended, pair.before),
        )
        for pair in pairs
    ]
    encoded, counts = encoder.encode_all("pairs", examples, max_length)
    unsure = any(pair.confidence is not None for pair in pairs)
    rows: list[dict[str, Any]] = []
    for pair, found in zip(pairs, encoded, strict=True):
        if found is None:
            continue
        chosen, rejected = found
        row = {
            "prompt_ids": chosen.prompt_ids,
            "chosen_ids": chosen.response_ids,
            "rejected_ids": rejected.response_ids,
        }
        sure = 1.0 if pair.confidence is None else pair.confidence
        rows.append(row | {_CONFIDENCE: sure} if unsure else row)
    return rows, counts


class TrainResult(NamedTuple):
    """What training did, before the model is chosen among its checkpoints."""

    rows: int
    counts: dict[str, int]
    dropout: list[str]

    @classmethod
    def read(cls, work: Path) -> TrainResult:
        """Return what processes that paused have left in a stage's work folder."""
        return cls(**json.loads((work / _RESULT).read_text()))


def train_dpo(
    job: TrainingJob, pairs: Sequence[LedgerRow], judge: CheckpointJudge | None = None
) -> Built:
    """Train on preference pairs into `job.model`; return what was done. Raises as `train`."""
    trained = train(job, pairs, judge)
    release_memory()
    built = choose(trained, job, judge)
    release_memory()
    return built


def train(
    job: TrainingJob, pairs: Sequence[LedgerRow], judge: CheckpointJudge | None = None
) -> TrainResult:
    """Train on preference pairs, leaving checkpoints and, if none is judged, `job.model`.

    With `job.pausing` it returns at the next checkpoint that is to be judged. Several processes
    that call it together train one model.

    Raises:
        NothingToTrain: there is no pair, or every pair was dropped.
    """
    if not pairs:
        raise NothingToTrain(
            f"{job.title}: no preference pairs; the ledger of the pairs stage says why for each "
            "prompt"
        )
    args = _arguments(job, judged=judge is not None)
    trl_loop.on_one_gpu(args)
    policy = trl_loop.load_policy(job)
    length = job.section.max_length
    rows, counts = encode_pairs(policy.encoder, pairs, length)
    if not rows:
        raise NothingToTrain(
            f"{job.title}: none of {len(pairs)} pairs fits dpo.max_length = {length} tokens"
        )
    reference = _reference_model(job, args)
    trainer = PairTrainer(
        _settings(job),
        model=policy.model,
        ref_model=reference,
        args=args,
        train_dataset=_data_set(rows, policy.encoder.end_of_turn, job.work),
        processing_class=policy.tokenizer,
        peft_config=weights.lora_config(job.lora),
    )
    _add_callbacks(trainer, job, judge)
    if shards_weights():
        files = model_files(job.reference or job.policy)
        trainer.precompute_reference(reference, "".join(map(sha256_file, files)))
    result = TrainResult(len(rows), counts, policy.dropout)
    if job.pausing and is_first():
        write_atomically(job.work / _RESULT, json.dumps(result._asdict()))
    if judge is None or not judge.wants_to_stop(trl_loop.last_checkpoint(job.work)):
        trl_loop.run(trainer, job.work)
    if judge is None and not job.pausing:
        weights.save_trained(trainer, job, policy.dropout)
    return result


def _settings(job: TrainingJob) -> DpoSection:
    if job.dpo is None:
        raise ValueError(f"{job.title}: dpo is not set")
    return job.dpo


def _arguments(job: TrainingJob, *, judged: bool) -> DPOConfig:
    section = _settings(job)
    # Checkpoints serve two ends: resuming after a kill, and being compared.
    judged_every = section.early_stopping.every_steps if judged or job.pausing else 0
    every = math.gcd(section.checkpoint_steps, judged_every)
    return DPOConfig(
        **trl_loop.arguments(job, schedule=section.schedule, checkpoint_steps=every),
        beta=section.beta,
        ld_alpha=section.ld_alpha if section.ld_alpha < 1 else None,
        use_weighting=section.weighting == "wpo",  # asks for what the weights are made from
        # The paper trains with dropout; TRL would switch it off.
        disable_dropout=False,
        # One pass of the reference before training, without dropout; it needs no memory afterwards.
        precompute_ref_log_probs=not shards_weights(),
    )


def _add_callbacks(trainer: PairTrainer, job: TrainingJob, judge: CheckpointJudge | None) -> None:
    """Add the callbacks in the order in which they must run."""
    every = _settings(job).early_stopping.every_steps
    if job.pausing or (judge and job.lora.enabled):
        trainer.add_callback(weights.WholeModel(trainer, job, every=every))
    trainer.add_callback(trl_loop.CompleteMark())
    trainer.add_callback(trl_loop.StepLog(job))
    if judge:
        trainer.add_callback(judge)
    if job.pausing:
        trainer.add_callback(trl_loop.Pause(every))


def _data_set(rows: list[dict[str, Any]], filler: int, work: Path) -> Dataset:
    """Return the pairs as a data set; for several processes on disk, with an empty pair at its end.

    TRL's first process writes the reference's log-probabilities beside it, for the others and for
    the next launch: what an earlier one has written of the same rows stays.
    """
    if processes() == 1:
        return Dataset.from_list(rows)
    folder = work / "encoded"
    if is_first():
        empty = {"prompt_ids": [filler] * 2, "chosen_ids": [], "rejected_ids": []}
        _save_rows([*rows, rows[0] | empty], folder)
    wait_for_all()
    return load_from_disk(folder)


def _save_rows(rows: list[dict[str, Any]], folder: Path) -> None:
    mark, digest = folder / "rows.sha256", sha256_json(rows)
    if mark.is_file() and mark.read_text() == digest:
        return
    shutil.rmtree(folder, ignore_errors=True)
    with disk_errors_named(folder):
        Dataset.from_list(rows).save_to_disk(folder)
        write_atomically(mark, digest)  # last: a kill before it leaves nothing to trust


def _reference_model(job: TrainingJob, args: DPOConfig) -> Any:
    """Return the reference model, None if TRL can use the policy before training.

    If weights are sharded only the first process has loaded them, and TRL would shard neither the
    policy (before training) nor its own copy of it. So the reference is sharded here.
    """
    if job.reference is None and not shards_weights():
        return None
    trust = job.models.trust_remote_code
    model = load_model(job.reference or job.policy, torch.float32, trust_remote_code=trust)
    if not shards_weights():
        if job.device == "cpu":
            pack_rows(model)
        return model
    from accelerate import Accelerator
    from accelerate.utils.fsdp_utils import fsdp2_prepare_model

    score_on_cpu()
    accelerator = Accelerator(mixed_precision=args.mixed_precision)
    keep_sums_in_fp32(accelerator)
    return fsdp2_prepare_model(accelerator, model.requires_grad_(requires_grad=False))


def choose(trained: TrainResult, job: TrainingJob, judge: CheckpointJudge | None) -> Built:
    """Leave the model to keep in `job.model`, the best checkpoint if any was judged."""
    section = _settings(job)
    steps = kept_step = trl_loop.step_of(trl_loop.last_checkpoint(job.work))
    if judge:
        best = judge.best()
        if best is None:
            raise RuntimeError(f"{job.work}: no checkpoint was judged")
        kept_step, trust = best.step, job.models.trust_remote_code
        model = load_model(best.folder, torch.float32, trust_remote_code=trust)
        tokenizer = load_tokenizer(best.folder, trust_remote_code=trust)
        dtype = getattr(torch, section.save_dtype)
        trl_loop.save(model, tokenizer, job.model, dtype=dtype, dropout=trained.dropout)
    facts = (judge.finish() if judge else {}) | {
        "steps": steps,
        "kept_step": kept_step,
        "beta": section.beta,
        "reference": section.reference if section.loss != "simpo" else "none",
        "dropout_requested": section.dropout,
        "dropout_applied_to": trained.dropout,
        **({"loss": section.loss} if section.loss != "sigmoid" else {}),
        "at_kept_step": trl_loop.metrics_at(job.metrics, kept_step),
    }
    counts = trained.counts | (judge.counts() if judge else {})
    return Built(rows=trained.rows, counts=counts, facts=facts)
