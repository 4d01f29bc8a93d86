"""Checks before a run of everything that its later stages need."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import ConfigError
from engines.opening import check_installed
from training.data.open_assistant import resolve
from training.data.seed import EFT_SAMPLE, IFT_SAMPLE, validation_prompts
from training.launch.command import check_launch
from training.models import checkpoint_judge, prompt_writer

if TYPE_CHECKING:
    from training.run import Run


def check_settings(run: Run, k: int) -> None:
    """Check every file, device and model that a run up to M_k needs.

    Raises:
        ConfigError: a file, folder, device or named model does not exist.
        DataError: the validation prompts cannot be read.
    """
    config = run.config
    check_installed(config.engine)
    check_launch(config)
    resolve(config.ift.source, IFT_SAMPLE)
    resolve(config.eft.source.path, EFT_SAMPLE)
    template = config.model.chat_template
    if template and not Path(template).is_file():
        raise ConfigError(f"model.chat_template = {template}: no such file")
    if config.engine.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise ConfigError("engine.device = 'cuda': no CUDA device here; use 'auto' or 'cpu'")
    if k < 2:  # noqa: PLR2004 - M1 needs no more
        return
    prompt_writer(run, k)
    if config.dpo.early_stopping.enabled and config.improvement.method == "dpo":
        checkpoint_judge(run, k)
        validation_prompts(config)
