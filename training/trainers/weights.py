"""Ordinary model folders from a trainer's adapters or from the shards of several processes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback

from engines.models import load_model
from training.launch.processes import is_first, processes, wait_for_all
from training.trainers import trl_loop

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PreTrainedModel, Trainer, TrainerState, TrainingArguments

    from core.config import LoraSection
    from training.trainers.job import TrainingJob

_WHOLE = "model"


def lora_config(section: LoraSection) -> LoraConfig | None:
    """Return peft's configuration of the adapters, None if the whole model is trained."""
    if not section.enabled:
        return None
    from peft import LoraConfig

    modules = section.target_modules
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=section.r,
        # Annotated as an integer, but peft accepts any number.
        lora_alpha=section.alpha,
        lora_dropout=section.dropout,
        target_modules=modules if isinstance(modules, str) else list(modules),
    )


def whole_model(trainer: Trainer, job: TrainingJob) -> PreTrainedModel | None:
    """Return the trained model with all its weights, adapters merged, on the CPU.

    Every process must call it, because each may hold a shard; only the first gets the model, the
    others None. The trainer's own model is not changed.
    """
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if not is_first():
        return None
    model = load_model(job.policy, torch.float32, trust_remote_code=job.models.trust_remote_code)
    config = lora_config(job.lora)
    if config is None:
        return _with_weights(model, state)
    from peft import get_peft_model

    adapted = _with_weights(get_peft_model(model, config), state)
    merged: PreTrainedModel = adapted.merge_and_unload()
    return merged


def _with_weights(model: Any, state: dict[str, torch.Tensor]) -> Any:
    """Return the model with its weights replaced; tied ones and those not trained may be absent."""
    whole = {name: tensor.detach().cpu() for name, tensor in state.items()}
    missing, unexpected = model.load_state_dict(whole, strict=False)
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    if unexpected or trained & set(missing):
        names = ", ".join(sorted([*unexpected, *missing])[:3])
        raise RuntimeError(f"the gathered weights do not fit the model: {names}")
    return model


def weights_of(checkpoint: Path) -> Path:
    """Return the folder with a checkpoint's whole model: a part of it, or the checkpoint itself."""
    whole = checkpoint / _WHOLE
    return whole if whole.is_dir() else checkpoint


class WholeModel(TrainerCallback):  # type: ignore[misc]
    """Writes the whole model into checkpoints that are judged: every so many steps, and the last.

    A checkpoint of adapters or shards has no weights that an engine could open. Must come before
    `trl_loop.CompleteMark`.
    """

    def __init__(self, trainer: Trainer, job: TrainingJob, *, every: int) -> None:
        self._trainer, self._job, self._every = trainer, job, every

    def on_save(
        self, args: TrainingArguments, state: TrainerState, *_: object, **__: object
    ) -> None:
        """Write `checkpoint-N/model`."""
        if state.global_step % self._every and state.global_step < state.max_steps:
            return
        model = whole_model(self._trainer, self._job)
        if model is not None:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}" / _WHOLE
            dropout = trl_loop.dropout_fields(model.config)
            tokenizer = self._trainer.processing_class
            trl_loop.save(model, tokenizer, folder, dtype=torch.float32, dropout=dropout)


def save_trained(trainer: Trainer, job: TrainingJob, dropout: list[str]) -> None:
    """Write what a trainer trained to `job.model`, from the first process."""
    model = trainer.model
    if lora_config(job.lora) or processes() > 1:
        model = whole_model(trainer, job)
    if model is not None:
        dtype = getattr(torch, job.section.save_dtype)
        trl_loop.save(model, trainer.processing_class, job.model, dtype=dtype, dropout=dropout)
    wait_for_all()
