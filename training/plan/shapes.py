"""The shape of a Llama-type model: parameters and key/value cache, by counting its matrices.

Nothing is loaded or downloaded: a local folder's config.json is read, and a few public models are
known by name. Estimates for any other model are "?".
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from core.errors import ModelError
from core.jsonl import parse

_EMBEDDED = "embedded"
_TINY = "tiny"
_LLAMA_LIKE = ("llama", "mistral")  # no other matrices than those counted here
_SIZES = (
    "num_hidden_layers",
    "hidden_size",
    "num_attention_heads",
    "intermediate_size",
    "vocab_size",
)


class Shape(NamedTuple):
    """Sizes of a Llama-type model: no biases, grouped key/value heads, SwiGLU.

    `tied`: the output projection is the embedding matrix, counted once.
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    intermediate: int
    vocabulary: int
    tied: bool = False
    head_size: int | None = None

    @property
    def per_head(self) -> int:
        """Return the width of one attention head."""
        return self.head_size or self.hidden // self.heads

    @property
    def kv_width(self) -> int:
        """Return the width of all key heads together, or of all value heads."""
        return self.kv_heads * self.per_head

    @property
    def matrices(self) -> dict[str, tuple[int, int]]:
        """Return (inputs, outputs) of each matrix of one layer, by the name transformers uses."""
        query = self.heads * self.per_head
        return {
            "q_proj": (self.hidden, query),
            "k_proj": (self.hidden, self.kv_width),
            "v_proj": (self.hidden, self.kv_width),
            "o_proj": (query, self.hidden),
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }

    @property
    def layer_parameters(self) -> int:
        """Return the parameters of one layer: its matrices and two norms."""
        return sum(i * o for i, o in self.matrices.values()) + 2 * self.hidden

    @property
    def outer_parameters(self) -> int:
        """Return the parameters outside the layers: embedding, output projection, last norm."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2) + self.hidden

    @property
    def parameters(self) -> int:
        """Return all parameters."""
        return self.layers * self.layer_parameters + self.outer_parameters

    def kv_bytes_per_token(self, bytes_per_value: int = 2) -> int:
        """Return the bytes of key/value cache that one token of one sequence takes."""
        return 2 * self.layers * self.kv_width * bytes_per_value

    def lora_parameters(self, rank: int, targets: tuple[str, ...]) -> int:
        """Return the parameters of LoRA adapters: rank x (inputs + outputs) per matrix and layer.

        Raises:
            ModelError: a target is not a matrix of a layer.
        """
        unknown = sorted(set(targets) - self.matrices.keys())
        if unknown:
            raise ModelError(
                f"no matrix {unknown[0]!r} in a Llama layer; it has {', '.join(self.matrices)}"
            )
        return self.layers * sum(rank * sum(self.matrices[name]) for name in targets)


# As published in each model's config.json.
_PUBLISHED = {
    "smollm2-135m smollm2-135m-instruct": Shape(30, 576, 9, 3, 1536, 49152, tied=True),
    "llama-2-7b-hf llama-2-7b-chat-hf": Shape(32, 4096, 32, 32, 11008, 32000),
    "llama-2-13b-hf llama-2-13b-chat-hf": Shape(40, 5120, 40, 40, 13824, 32000),
    "llama-2-70b-hf llama-2-70b-chat-hf": Shape(80, 8192, 64, 8, 28672, 32000),
    "meta-llama-3-8b meta-llama-3-8b-instruct llama-3.1-8b llama-3.1-8b-instruct": Shape(
        32, 4096, 32, 8, 14336, 128256
    ),
    "meta-llama-3-70b meta-llama-3-70b-instruct llama-3.1-70b llama-3.1-70b-instruct": Shape(
        80, 8192, 64, 8, 28672, 128256
    ),
}
KNOWN = {name: shape for names, shape in _PUBLISHED.items() for name in names.split()}


class Unknown(Exception):
    """A value that cannot be estimated; its text says why."""


def shape_of(model: str) -> Shape:
    """Return the shape of `model.base` or a model folder, whose config.json is read.

    Raises:
        Unknown: it is neither a folder with a Llama-type model nor a known name.
        DataError: a folder's config.json is not JSON.
    """
    if model == _TINY:
        raise Unknown("the tiny test model has no shape before its tokenizer is made")
    folder = Path(model).expanduser()
    if folder.is_dir():
        return _read(folder)
    name = "smollm2-135m-instruct" if model == _EMBEDDED else folder.name.lower().partition("@")[0]
    if name not in KNOWN:
        raise Unknown(f"the shape of {model!r} is not known offline: name a local folder")
    return KNOWN[name]


def _read(folder: Path) -> Shape:
    path = folder / "config.json"
    if not path.is_file():
        raise Unknown(f"{folder} has no config.json")
    config = parse(path.read_bytes(), path)
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind not in _LLAMA_LIKE:
        raise Unknown(
            f"{path}: model_type {kind!r} is not counted; only {' and '.join(_LLAMA_LIKE)} are"
        )
    missing = [name for name in _SIZES if not isinstance(config.get(name), int)]
    if missing:
        raise Unknown(f"{path} does not say {missing[0]}")
    layers, hidden, heads, intermediate, vocabulary = (config[name] for name in _SIZES)
    kv_heads = config.get("num_key_value_heads") or heads
    tied, head_size = bool(config.get("tie_word_embeddings", False)), config.get("head_dim")
    return Shape(layers, hidden, heads, kv_heads, intermediate, vocabulary, tied, head_size)
