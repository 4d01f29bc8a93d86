"""Loading model folders: safetensors only, with one-line errors for common mistakes."""

from __future__ import annotations

import gc
import json
import math
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from core.config import DATE, EngineSection
from core.errors import ModelError, first_line
from core.hashing import model_digest
from core.records import user
from engines.memory import give_back_freed_memory
from engines.prompting import Prompter
from engines.turns import assistant_turn

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable
    from pathlib import Path
    from typing import Unpack

    import torch
    from transformers import (
        GenerationConfig,
        PretrainedConfig,
        PreTrainedModel,
        PreTrainedTokenizerBase,
    )

    from core.config import ModelSection


# What configurations call the context window.
_WINDOWS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")


class Opening(TypedDict, total=False):
    """What engines may be told about a model folder.

    `weights_sha256`, from its manifest, avoids hashing it. `date` is what chat templates print as
    today's, `chat_template_kwargs` are further variables of theirs. `max_thinking_tokens`: for a
    thought, besides those of the answer after it.
    """

    weights_sha256: str | None
    trust_remote_code: bool
    date: datetime.date
    chat_template_kwargs: dict[str, Any]
    max_thinking_tokens: int


def digest(folder: Path, **opening: Unpack[Opening]) -> str:
    """Return what identifies a model folder's outputs: its files, and how it is prompted."""
    parts = [opening.get("weights_sha256") or model_digest(folder)]
    if (date := opening.get("date", DATE)) != DATE:
        parts.append(str(date))
    if variables := opening.get("chat_template_kwargs"):
        parts.append(json.dumps(variables, sort_keys=True))
    if thinking := opening.get("max_thinking_tokens"):
        parts.append(f"thinking {thinking}")
    return "/".join(parts)


def prompter_of(tokenizer: PreTrainedTokenizerBase, **opening: Unpack[Opening]) -> Prompter:
    """Return what renders a model's prompts; raises as `Prompter`."""
    variables = opening.get("chat_template_kwargs") or {}
    return Prompter(tokenizer, opening.get("date", DATE), variables)


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
    trust_remote_code: bool = False,
    **overrides: Any,
) -> PreTrainedModel:
    """Load a causal language model from a local folder, in evaluation mode.

    Raises:
        ModelError: the folder is not a model, or its weights are damaged, NaN or infinite.
    """
    check_folder(folder)
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    quiet_transformers()
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=trust_remote_code,
            **overrides,
        )
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        reason = first_line(error)
        remedy = ""
        if isinstance(error, SafetensorError) or "size mismatch" in str(error):
            remedy = (
                "; the file is damaged or incomplete: make or download it again, then --redo the "
                "stage that made it"
            )
        raise ModelError(f"{folder}: cannot load the weights ({reason}){remedy}") from error
    if broken := not_finite(model):
        message = (
            f"{folder}: {broken}: its training diverged or the file is damaged; make it again with "
            "--redo of the stage that made it"
        )
        raise ModelError(message)
    _use_right_attention(model, folder)
    return model.eval()


def _use_right_attention(model: PreTrainedModel, folder: Path) -> None:
    """Let a model compute attention itself ("eager") where torch's sdpa would leave parts out.

    transformers passes a cap on scores (Gemma 2) and attention sinks on to sdpa, which ignores
    them.
    """
    capped = getattr(model.config.get_text_config(), "attn_logit_softcapping", None)
    sinks = any(name.endswith(".sinks") for name, _ in model.named_parameters())
    if attention_of(model) != "sdpa" or not (capped or sinks):
        return
    try:
        model.set_attn_implementation("eager")
    except (ValueError, ImportError) as error:
        what = "attention sinks" if sinks else "soft-capped attention"
        raise ModelError(
            f"{folder}: {model.config.model_type} has {what}, which torch's sdpa leaves out, and "
            f"has no other implementation ({first_line(error)}); use another base model"
        ) from error


def attention_of(model: PreTrainedModel) -> str:
    """Return the name of the function that computes a model's attention."""
    return str(model.config._attn_implementation)  # noqa: SLF001 - there is no public name for it


def not_finite(model: PreTrainedModel) -> str | None:
    """Say which weights are NaN or infinite; None if all are finite.

    A sum holds any NaN or infinity of its terms and reads each weight once.
    """
    import torch

    weights = dict(model.named_parameters())
    broken = [
        name
        for name, weight in weights.items()
        if not weight.is_meta and not torch.isfinite(weight.detach().sum(dtype=torch.float64))
    ]
    if not broken:
        return None
    return f"{len(broken)} of {len(weights)} weights are NaN or infinite, {broken[0]} among them"


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
        reason = first_line(error)
        raise ModelError(f"{folder}: cannot load the tokenizer ({reason})") from error
    if not tokenizer.chat_template:
        raise ModelError(
            f"{folder}: the tokenizer has no chat template, so conversations cannot be rendered; "
            "set model.chat_template to a Jinja file (Llama 2's [INST] format, for example)"
        )
    if tokenizer.eos_token_id is None:
        raise ModelError(f"{folder}: the tokenizer has no eos_token to end a turn with")
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id >= _embeddings(folder):
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    return tokenizer


def _embeddings(folder: Path) -> float:
    """Return how many tokens a folder's model embeds, infinity if it does not say."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return math.inf
    return float(config.get("text_config", config).get("vocab_size", math.inf))


class Usable(NamedTuple):
    """A model's context window, and what is odd about its chat template ("" if nothing)."""

    window: int
    difference: str


def check_usable(folder: Path, section: ModelSection) -> Usable:
    """Check, without loading the weights, that a folder can be sampled from and trained.

    Raises:
        ModelError: no chat template, one that fails or whose turns do not end, tokens that the
            model does not embed, or a weights file whose header does not fit its size.
    """
    from safetensors import SafetensorError, safe_open

    facts = FolderFacts(
        folder,
        EngineSection(),
        weights_sha256="unused",
        trust_remote_code=section.trust_remote_code,
        date=section.date,
        chat_template_kwargs=section.chat_template_kwargs,
    )
    turn = assistant_turn(facts.prompter, facts.stop_ids)
    _check_embedded(folder, facts, [*facts.stop_ids, *facts.prompter.render(user("?"))])
    for weights in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(weights, framework="pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise ModelError(
                f"{weights}: not a readable safetensors file ({error}); copy or download it again"
            ) from error
    return Usable(facts.window, turn.difference)


def _check_embedded(folder: Path, facts: FolderFacts, needed: Iterable[int]) -> None:
    """Check that all tokens that prompts and texts can hold have embeddings."""
    rows = _embeddings(folder)
    added = facts.tokenizer.added_tokens_decoder
    used = {*needed, *(i for i, token in added.items() if not token.special)}
    outside = sorted(token for token in used if token >= rows)
    if outside:
        name = facts.tokenizer.convert_ids_to_tokens(outside[0])
        raise ModelError(
            f"{folder}: token {name!r} ({outside[0]}) has no embedding: the model has {rows:.0f}. "
            "Resize its embeddings, or use the tokenizer that it was trained with"
        )


def context_length(config: PretrainedConfig) -> int:
    """Return a model's context window in tokens; of models without one, a million."""
    text = config.get_text_config()
    named = (getattr(text, name, None) for name in _WINDOWS)
    return next((window for window in named if isinstance(window, int)), 2**20)


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


def saveable(config: GenerationConfig) -> GenerationConfig:
    """Return the configuration, or only its special tokens where transformers would not save it.

    It reads a temperature without `do_sample` (as Llama 2 had it) but does not write one.
    """
    from transformers import GenerationConfig

    try:
        config.validate(strict=True)
    except ValueError:
        tokens = {n: getattr(config, n) for n in ("bos_token_id", "eos_token_id", "pad_token_id")}
        if isinstance(pad := tokens["pad_token_id"], int) and pad < 0:  # Llama's "none"
            del tokens["pad_token_id"]
        return GenerationConfig(**tokens)
    return config


def _generation_config(folder: Path, config: PretrainedConfig) -> GenerationConfig:
    from transformers import GenerationConfig

    if not (folder / "generation_config.json").is_file():
        return GenerationConfig.from_model_config(config)
    try:
        return GenerationConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"{folder}/generation_config.json: {first_line(error)}") from error


def has_plain_attention(config: PretrainedConfig) -> bool:
    """Whether attention is full and causal, positions rotary, and scores and logits not capped."""
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    changed = ("final_logit_softcapping", "attn_logit_softcapping", "logits_scaling", "logit_scale")
    return (
        rope.get("rope_type") in {"default", "linear", "llama3", "yarn"}
        and kinds == {"full_attention"}
        and not getattr(config, "sliding_window", None)
        and not any(getattr(config, name, None) for name in changed)
    )


def pick_device(name: str) -> str:
    """Return a device's name, with "auto" resolved to "cuda" if there is one, else "cpu"."""
    if name != "auto":
        return name
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def release_memory() -> None:
    """Free models that nothing uses any more, and give their memory to other processes.

    A trainer and its model refer to each other, so that only the garbage collector finds them; and
    torch keeps a GPU's memory for its own process until it is told not to.
    """
    import torch

    gc.collect()
    give_back_freed_memory()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def quiet_transformers() -> None:
    """Keep transformers' own progress bars and advice off the terminal; errors still raise."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", message=".*rope_parameters.*")


class FolderFacts:
    """What a model folder says without its weights, for engines that load the weights elsewhere.

    `window` is the context window in tokens: the model's, or `max_model_len` if that is less.
    `stop_ids` are the tokens that end a turn; `digest` identifies the files; `thinking` is how many
    tokens a thought has of its own.
    """

    tokenizer: PreTrainedTokenizerBase
    window: int
    stop_ids: frozenset[int]
    prompter: Prompter
    digest: str

    def __init__(self, folder: Path, section: EngineSection, **opening: Unpack[Opening]) -> None:
        """Read the folder; raises `ModelError` if it does not hold a loadable model."""
        from transformers import AutoConfig

        check_folder(folder)
        quiet_transformers()
        trust = opening.get("trust_remote_code", False)
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=trust)
        self.tokenizer = load_tokenizer(folder, trust_remote_code=trust)
        own = context_length(config)
        self.window = min(own, section.max_model_len or own)
        self.stop_ids = end_ids(_generation_config(folder, config), self.tokenizer)
        self.prompter = prompter_of(self.tokenizer, **opening)
        self.thinking = opening.get("max_thinking_tokens", 0)
        self.digest = digest(folder, **opening)
