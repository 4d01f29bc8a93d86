"""From what a trainer holds (adapters, shards of several processes) to an ordinary model folder."""

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
    from transformers import (
        PreTrainedModel,
        PreTrainedTokenizerBase,
        Trainer,
        TrainerState,
        TrainingArguments,
    )

    from core.config import LoraSection

_WHOLE = "model"


def lora_config(section: LoraSection | None) -> LoraConfig | None:
    """Return peft's configuration of the adapters, None where the whole model is trained."""
    if section is None or not section.enabled:
        return None
    from peft import LoraConfig

    modules = section.target_modules
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=section.r,
        # peft computes with it as a number, though it asks for an integer.
        lora_alpha=section.alpha,
        lora_dropout=section.dropout,
        target_modules=modules if isinstance(modules, str) else list(modules),
    )


def whole_model(
    trainer: Trainer, start: Path, lora: LoraSection | None, *, trust_remote_code: bool
) -> PreTrainedModel | None:
    """Return the trained model with all its weights, adapters merged, on the CPU.

    Every process must call it, because each may hold a part; only the first gets the model, the
    others None. `start` is the model folder that training began with. The trainer's own model
    stays as it is.
    """
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if not is_first():
        return None
    model = load_model(start, torch.float32, trust_remote_code=trust_remote_code)
    config = lora_config(lora)
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

    def __init__(
        self,
        start: Path,
        lora: LoraSection | None,
        tokenizer: PreTrainedTokenizerBase,
        *,
        every: int,
        trust_remote_code: bool,
    ) -> None:
        """Remember how to build the model; `trainer` is set once there is one."""
        self.trainer: Trainer | None = None
        self._start, self._lora, self._tokenizer = start, lora, tokenizer
        self._every, self._trust = every, trust_remote_code

    def on_save(
        self, args: TrainingArguments, state: TrainerState, *_: object, **__: object
    ) -> None:
        """Write `checkpoint-N/model`."""
        if state.global_step % self._every and state.global_step < state.max_steps:
            return
        if self.trainer is None:
            raise RuntimeError("WholeModel was not given its trainer")
        model = whole_model(self.trainer, self._start, self._lora, trust_remote_code=self._trust)
        if model is not None:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}" / _WHOLE
            dropout = trl_loop.dropout_fields(model.config)
            trl_loop.save(model, self._tokenizer, folder, dtype=torch.float32, dropout=dropout)


def save_trained(
    trainer: Trainer,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    *,
    start: Path,
    lora: LoraSection | None,
    dtype: torch.dtype,
    dropout: list[str],
    trust_remote_code: bool,
) -> None:
    """Write what a trainer trained as an ordinary model folder, from the first process."""
    model = trainer.model
    if lora_config(lora) or processes() > 1:
        model = whole_model(trainer, start, lora, trust_remote_code=trust_remote_code)
    if model is not None:
        trl_loop.save(model, tokenizer, folder, dtype=dtype, dropout=dropout)
    wait_for_all()
