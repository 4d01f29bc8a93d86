"""Loading model folders: safetensors only, with one-line errors for common mistakes."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, TypedDict

from core.errors import ModelError
from core.hashing import model_digest

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Unpack

    import torch
    from transformers import (
        GenerationConfig,
        PretrainedConfig,
        PreTrainedModel,
        PreTrainedTokenizerBase,
    )

    from core.config import EngineSection


class Opening(TypedDict, total=False):
    """What engines may be told about a model folder.

    `weights_sha256`, from its manifest, avoids hashing it.
    """

    weights_sha256: str | None
    trust_remote_code: bool


def check_folder(folder: Path) -> None:
    """Check that a folder holds a loadable model.

    Raises:
        ModelError: no config.json, no weights, or weights that are not safetensors.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such model folder; check model.base in the configuration")
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: no config.json; this is not a transformers model folder")
    if not any(folder.glob("*.safetensors")):
        pickled = any(folder.glob("*.bin")) or any(folder.glob("*.pt"))
        hint = (
            "only pickled weights, which can run code when loaded; convert them with "
            "save_pretrained(safe_serialization=True)"
            if pickled
            else "no *.safetensors files"
        )
        raise ModelError(f"{folder}: {hint}")


def load_model(
    folder: Path,
    dtype: torch.dtype,
    *,
    attention: str = "sdpa",
    trust_remote_code: bool = False,
    **overrides: Any,
) -> PreTrainedModel:
    """Load a causal language model from a local folder, in evaluation mode.

    Raises:
        ModelError: the folder is not a model, or its weights are damaged.
    """
    check_folder(folder)
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    quiet_transformers()
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            attn_implementation=attention,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=trust_remote_code,
            **overrides,
        )
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        remedy = ""
        if isinstance(error, SafetensorError) or "size mismatch" in str(error):
            remedy = (
                "; the file is damaged or incomplete: make or download it again, then --redo the "
                "stage that made it"
            )
        raise ModelError(f"{folder}: cannot load the weights ({reason}){remedy}") from error
    return model.eval()


def load_tokenizer(folder: Path, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """Load a tokenizer that can render conversations, padding on the left.

    Raises:
        ModelError: there is no tokenizer, or it has no chat template or end-of-turn token.
    """
    from transformers import AutoTokenizer

    quiet_transformers()
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=trust_remote_code
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"{folder}: cannot load the tokenizer ({reason})") from error
    if not tokenizer.chat_template:
        raise ModelError(
            f"{folder}: the tokenizer has no chat template, so conversations cannot be rendered; "
            "set model.chat_template to a Jinja file (Llama 2's [INST] format, for example)"
        )
    if tokenizer.eos_token_id is None:
        raise ModelError(f"{folder}: the tokenizer has no eos_token to end a turn with")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    return tokenizer


def check_usable(folder: Path, *, trust_remote_code: bool = False) -> None:
    """Check, without loading the weights, that a folder can be sampled from and trained.

    Raises:
        ModelError: no chat template, or a weights file whose header does not fit its size.
    """
    from jinja2 import TemplateError
    from safetensors import SafetensorError, safe_open

    check_folder(folder)
    tokenizer = load_tokenizer(folder, trust_remote_code=trust_remote_code)
    try:
        tokenizer.apply_chat_template([{"role": "user", "content": "?"}], tokenize=False)
    except TemplateError as error:
        raise ModelError(f"{folder}: its chat template does not render ({error})") from error
    for weights in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(weights, framework="pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise ModelError(
                f"{weights}: not a readable safetensors file ({error}); copy or download it again"
            ) from error


def context_length(config: PretrainedConfig) -> int:
    """Return a model's context window in tokens."""
    return int(config.get_text_config().max_position_embeddings)


def stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Return the token ids that end a model's turn."""
    return end_ids(model.generation_config, tokenizer)


def end_ids(
    generation: GenerationConfig | None, tokenizer: PreTrainedTokenizerBase
) -> frozenset[int]:
    """Return the token ids that end a turn: the tokenizer's and the generation config's."""
    configured = generation.eos_token_id if generation else None
    ids = configured if isinstance(configured, list) else [configured]
    return frozenset(i for i in [*ids, tokenizer.eos_token_id] if i is not None)


def pick_device(name: str) -> str:
    """Return a device's name, with "auto" resolved to "cuda" if there is one, else "cpu"."""
    if name != "auto":
        return name
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def quiet_transformers() -> None:
    """Keep transformers' own progress bars and advice off the terminal; errors still raise."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", message=".*rope_parameters.*")


class FolderFacts:
    """What a model folder says without its weights, for engines that load the weights elsewhere.

    `window` is the context window in tokens: the model's, or `max_model_len` if that is less.
    `stop_ids` are the tokens that end a turn; `digest` identifies the files.
    """

    tokenizer: PreTrainedTokenizerBase
    window: int
    stop_ids: frozenset[int]
    digest: str

    def __init__(self, folder: Path, section: EngineSection, **opening: Unpack[Opening]) -> None:
        """Read the folder; raises `ModelError` if it does not hold a loadable model."""
        from transformers import AutoConfig, GenerationConfig

        check_folder(folder)
        quiet_transformers()
        trust = opening.get("trust_remote_code", False)
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=trust)
        self.tokenizer = load_tokenizer(folder, trust_remote_code=trust)
        own = context_length(config)
        self.window = min(own, section.max_model_len or own)
        if (folder / "generation_config.json").is_file():
            generation = GenerationConfig.from_pretrained(folder, local_files_only=True)
        else:
            generation = GenerationConfig.from_model_config(config)
        self.stop_ids = end_ids(generation, self.tokenizer)
        self.digest = opening.get("weights_sha256") or model_digest(folder)
