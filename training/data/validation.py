"""The prompts on which checkpoints are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from core.errors import ConfigError
from training.data.open_assistant import read_threads
from training.data.seed import PROMPTS_SAMPLE

if TYPE_CHECKING:
    from core.config import Config


class ValidationPrompt(NamedTuple):
    """A prompt that both checkpoints answer."""

    key: str
    text: str


def validation_prompts(config: Config) -> list[ValidationPrompt]:
    """Return the prompts of the validation split, or of a file that names no split.

    Raises:
        ConfigError: there are none.
    """
    stopping, language = config.dpo.early_stopping, config.ift.language
    threads = read_threads(stopping.validation, PROMPTS_SAMPLE, language=language)
    wanted = [t for t in threads if t.split in (None, "validation")]
    if not wanted:
        message = (
            f"dpo.early_stopping.validation = {stopping.validation!r}: no validation prompt in "
            f"{language!r}; name a file of prompts, or set dpo.early_stopping.enabled = false"
        )
        raise ConfigError(message)
    return [ValidationPrompt(t.key, t.prompt) for t in wanted[: stopping.max_prompts]]
