"""What a model folder says without its weights: for engines whose weights are loaded elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.hashing import model_digest
from engines.models import (
    check_folder,
    context_length,
    end_ids,
    load_tokenizer,
    quiet_transformers,
)

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedTokenizerBase

    from core.config import EngineSection


class FolderFacts:
    """A model's tokenizer, window, ends of turn and identity.

    `window` is the context window in tokens: the model's, or `max_model_len` if that is less.
    `stop_ids` are the tokens that end a turn; `digest` identifies the files.
    """

    tokenizer: PreTrainedTokenizerBase
    window: int
    stop_ids: frozenset[int]
    digest: str

    def __init__(
        self,
        folder: Path,
        section: EngineSection,
        *,
        weights_sha256: str | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        """Read the folder; `weights_sha256` (from its manifest) spares hashing it.

        Raises:
            ModelError: the folder is no model that this system loads.
        """
        from transformers import AutoConfig, GenerationConfig

        check_folder(folder)
        quiet_transformers()
        config = AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=trust_remote_code
        )
        self.tokenizer = load_tokenizer(folder, trust_remote_code=trust_remote_code)
        own = context_length(config)
        self.window = min(own, section.max_model_len or own)
        if (folder / "generation_config.json").is_file():
            generation = GenerationConfig.from_pretrained(folder, local_files_only=True)
        else:
            generation = GenerationConfig.from_model_config(config)
        self.stop_ids = end_ids(generation, self.tokenizer)
        self.digest = weights_sha256 or model_digest(folder)
