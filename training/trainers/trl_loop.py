"""The part that SFT and DPO by TRL share: settings, checkpoints that survive kill -9, step log."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from transformers import PrinterCallback, TrainerCallback

from core.errors import Diverged, disk_errors_named
from core.progress import Advance, say, track
from core.store import write_atomically
from engines.memory import keep_freed_memory
from engines.models import load_model, load_tokenizer, not_finite, saveable, stop_ids
from engines.prompting import Prompter
from training.launch.processes import (
    accumulation,
    is_first,
    keep_sums_in_fp32,
    processes,
    shard_on_cpu,
    shards_weights,
    wait_for_all,
)
from training.trainers.encoding import Encoder
from training.trainers.log_probs import score_on_cpu
from training.trainers.packed import pack_rows

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import torch
    from transformers import (
        PreTrainedModel,
        PreTrainedTokenizerBase,
        Trainer,
        TrainerControl,
        TrainerState,
        TrainingArguments,
    )

    from training.trainers.job import TrainingJob

_COMPLETE = "srlm_complete"
# Counters and timings that differ between a resumed and an uninterrupted run.
_UNSTABLE = ("num_tokens", "train_runtime", "total_flos", "epoch_time")
_DROPOUT_FIELDS = (
    "attention_dropout",
    "hidden_dropout",
    "resid_dropout",
    "embd_pdrop",
    "resid_pdrop",
    "attn_pdrop",
)
# Settings that TRL calls the same.
_SAME_NAMES = {"weight_decay", "max_grad_norm", "gradient_checkpointing", "max_length"}


def arguments(job: TrainingJob, *, schedule: str, checkpoint_steps: int) -> dict[str, Any]:
    """Return the TrainingArguments that both trainers get; raises as `accumulation`.

    Make the TRL configuration from them before loading the model: how much of it each process loads
    depends on the process group that this starts.
    """
    section = job.section
    return {
        "output_dir": str(job.work),
        "learning_rate": section.lr,
        **_schedule(schedule, section.lr_min),
        "per_device_train_batch_size": section.micro_batch_size,
        "gradient_accumulation_steps": accumulation(section, processes(), job.name),
        **section.model_dump(include=_SAME_NAMES),
        "num_train_epochs": section.epochs,
        "max_steps": section.max_steps or -1,
        "warmup_steps": section.warmup_ratio,
        "bf16": section.precision == "bf16",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # it would log the mean of other steps instead
        "save_strategy": "steps",
        "save_steps": checkpoint_steps,
        "save_total_limit": 2,
        "seed": job.seed,
        "data_seed": job.seed,
        "use_cpu": job.device == "cpu",
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": False,
        "ddp_find_unused_parameters": False,  # every weight gets a gradient; the search costs time
        "ddp_timeout": job.timeout_s,
        "log_level": "error",
    }


def on_one_gpu(args: TrainingArguments) -> None:
    """Let this process train on one GPU, the first that it sees, however many there are.

    Trainer would copy the model to all of them (DataParallel), which TRL refuses.
    """
    if args.n_gpu > 1:
        args._n_gpu = 1  # noqa: SLF001 - Trainer itself sets it where a model is on several GPUs


def _schedule(name: str, lr_min: float) -> dict[str, Any]:
    """Return a decay to exactly `lr_min`."""
    if name == "cosine":
        kind, kwargs = "cosine_with_min_lr", {"min_lr": lr_min}
    else:
        # Polynomial of power 1 is the linear decay with an end value.
        kind, kwargs = "polynomial", {"lr_end": lr_min, "power": 1.0}
    return {"lr_scheduler_type": kind, "lr_scheduler_kwargs": kwargs}


def dropout_fields(config: object) -> list[str]:
    """Return the dropout settings that this architecture has, of those in common use."""
    return [name for name in _DROPOUT_FIELDS if hasattr(config, name)]


class Policy(NamedTuple):
    """The model to train in fp32, its tokenizer and encoder, and the dropout settings applied."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    encoder: Encoder
    dropout: list[str]


def load_policy(job: TrainingJob) -> Policy:
    """Load the model that training starts from. Call after making the training arguments."""
    import torch

    shard_on_cpu()
    tokenizer = load_tokenizer(job.policy, trust_remote_code=job.models.trust_remote_code)
    model = load_model(job.policy, torch.float32, trust_remote_code=job.models.trust_remote_code)
    encoder = Encoder(
        Prompter(tokenizer, job.models.date, job.models.chat_template_kwargs),
        stop_ids(model, tokenizer),
    )
    dropout = prepare(model, dropout=job.section.dropout)
    if job.device == "cpu":
        keep_freed_memory()
    if job.device == "cpu" and not shards_weights():
        pack_rows(model)
    return Policy(model, tokenizer, encoder, dropout)


def prepare(model: PreTrainedModel, *, dropout: float) -> list[str]:
    """Make a loaded model ready for a TRL trainer; return the names of the dropouts it has.

    The pad token's embedding is made trainable: where pad = eos it is the end of turn's too, and
    torch would give it no gradient. Sampling settings that transformers would refuse to save, at
    the first checkpoint, are removed.
    """
    score_on_cpu()
    if model.generation_config:
        model.generation_config = saveable(model.generation_config)
    model.get_input_embeddings().padding_idx = None
    return apply_dropout(model, dropout)


def apply_dropout(model: PreTrainedModel, probability: float) -> list[str]:
    """Set every dropout the architecture has; return their names (Llama: attention_dropout only).

    The modules copied the value when they were built, so both places are set.
    """
    import torch

    names = dropout_fields(model.config)
    for name in names:
        setattr(model.config, name, probability)
        for module in model.modules():
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, probability)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = probability
    return names


def last_checkpoint(work: Path) -> Path | None:
    """Return the newest complete checkpoint and remove incomplete ones, left by a kill.

    With several processes all must call it together; only the first removes anything.
    """
    complete = []
    for folder in sorted(work.glob("checkpoint-*")):
        if (folder / _COMPLETE).is_file():
            complete.append(folder)
        elif is_first():
            shutil.rmtree(folder)
    wait_for_all()
    return max(complete, key=step_of, default=None)


def step_of(checkpoint: Path | None) -> int:
    """Return the optimiser step a checkpoint folder is named after, 0 for none."""
    return int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0


class StepLog(TrainerCallback):  # type: ignore[misc]
    """Appends each step's metrics to the job's JSONL file and moves the progress bar."""

    def __init__(self, job: TrainingJob) -> None:
        self._path, self._title = job.metrics, job.title
        self._bar: AbstractContextManager[Advance] | None = None
        self._advance: Advance | None = None

    def on_train_begin(self, args: object, state: TrainerState, *_: object, **__: object) -> None:
        """Drop lines of steps after the checkpoint that training resumes from; open the bar."""
        if not state.is_world_process_zero:
            return
        kept = [line for line in _lines(self._path) if line["step"] <= state.global_step]
        write_atomically(self._path, "".join(json.dumps(line) + "\n" for line in kept))
        self._bar = track(self._title, state.max_steps, resumed=state.global_step)
        self._advance = self._bar.__enter__()

    def on_log(
        self, args: object, state: TrainerState, *_: object, logs: dict[str, float], **__: object
    ) -> None:
        """Write one step; values that are no numbers (a mean over nothing) become null.

        Raises:
            Diverged: the loss or the gradient is NaN or infinite, in every process.
        """
        if "loss" not in logs:
            return
        for name in ("loss", "grad_norm"):
            if not math.isfinite(logs.get(name, 0.0)):
                what = f"{name} is {logs[name]} at step {state.global_step}"
                self.on_train_end()
                raise Diverged(_diverged(self._title, what))
        if not state.is_world_process_zero:
            return
        line: dict[str, Any] = {"step": state.global_step}
        line |= {
            name: value if math.isfinite(value) else None
            for name, value in logs.items()
            if name not in _UNSTABLE
        }
        with disk_errors_named(self._path), self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        if self._advance:
            self._advance()

    def on_train_end(self, *_: object, **__: object) -> None:
        """Close the bar."""
        if self._bar:
            self._bar.__exit__(None, None, None)


class CompleteMark(TrainerCallback):  # type: ignore[misc]
    """Marks a checkpoint complete once all its files are written. Must come before other savers."""

    def on_save(
        self, args: TrainingArguments, state: TrainerState, *_: object, **__: object
    ) -> None:
        """Touch the mark in the checkpoint just written, once every process wrote its part."""
        wait_for_all()
        if state.is_world_process_zero:
            (Path(args.output_dir) / f"checkpoint-{state.global_step}" / _COMPLETE).touch()


class Pause(TrainerCallback):  # type: ignore[misc]
    """Ends training at the next checkpoint that is to be judged; a later launch resumes there."""

    def __init__(self, every: int) -> None:
        self._every = every

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> TrainerControl:
        """Stop, with a checkpoint."""
        if state.global_step % self._every == 0:
            control.should_save = control.should_training_stop = True
        return control


def is_trained(checkpoint: Path) -> bool:
    """Whether a checkpoint is that of the last step."""
    state = json.loads((checkpoint / "trainer_state.json").read_text())
    return bool(state["global_step"] >= state["max_steps"])


def _lines(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for raw in path.read_text().splitlines() if path.exists() else ():
        try:
            found.append(json.loads(raw))
        except ValueError:
            break  # a kill cut this line; the step is trained, and logged, again
    return found


def run(trainer: Trainer, work: Path) -> None:
    """Train from the last complete checkpoint, or from the beginning."""
    trainer.remove_callback(PrinterCallback)
    keep_sums_in_fp32(trainer.accelerator)
    checkpoint = last_checkpoint(work)
    if checkpoint and is_first():
        say(f"  resuming from step {step_of(checkpoint)}")
    with disk_errors_named(work):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)


def save(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    *,
    dtype: torch.dtype,
    dropout: list[str],
) -> None:
    """Write a trained model as safetensors with its tokenizer, its dropout settings back at 0.

    Raises:
        Diverged: a weight is NaN or infinite, also in `dtype`.
    """
    for name in dropout:
        setattr(model.config, name, 0.0)
    with disk_errors_named(folder):
        shutil.rmtree(folder, ignore_errors=True)
        model = model.to(dtype)
        if broken := not_finite(model):
            raise Diverged(_diverged(str(folder), broken))
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _diverged(title: str, what: str) -> str:
    return (
        f"{title}: training diverged: {what}. Nothing of it is kept. Use a smaller learning rate "
        "(lr) or look at the data, then run again with --redo stale"
    )


def metrics_at(path: Path, step: int) -> dict[str, float]:
    """Return one step's metrics, empty if it was not logged."""
    return next(({**line} for line in _lines(path) if line["step"] == step), {})


def mean_loss(path: Path) -> float | None:
    """Return the mean loss over all steps, those before a resume included; None without steps."""
    losses = [line["loss"] for line in _lines(path)]
    return sum(losses) / len(losses) if losses else None
