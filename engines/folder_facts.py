"""What a model folder says without its weights: for engines whose weights are loaded elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.hashing import model_files, sha256_file, sha256_json
from engines.models import check_folder, load_tokenizer, quiet_transformers

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
        own = int(config.get_text_config().max_position_embeddings)
        self.window = min(own, section.max_model_len or own)
        if (folder / "generation_config.json").is_file():
            ends = GenerationConfig.from_pretrained(folder, local_files_only=True).eos_token_id
        else:
            ends = GenerationConfig.from_model_config(config).eos_token_id
        named = ends if isinstance(ends, list) else [ends]
        self.stop_ids = frozenset(i for i in [*named, self.tokenizer.eos_token_id] if i is not None)
        self.digest = weights_sha256 or sha256_json(
            [sha256_file(path) for path in model_files(folder)]
        )
