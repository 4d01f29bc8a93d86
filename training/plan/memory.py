"""GPU memory of training and of sampling, per GPU, from a model's shape.

Bytes per parameter follow from how training runs here (docs/decisions/003): weights, gradients and
the two moments of Adam in fp32, bf16 copies for the arithmetic. Activations are counted tensor by
tensor; tests/training/plan/test_memory.py compares with torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from training.plan.shapes import Shape

_FP32, _BF16 = 4, 2
_MOMENTS = 2 * _FP32  # Adam's, per trained parameter
_GATHERED_LAYERS = 2  # FSDP: the layer in use and the next one, fetched meanwhile


class TrainingSetup(NamedTuple):
    """How one training stage runs.

    `sharded`: weights, gradients and optimiser are divided among the GPUs (FSDP). `rows`: of the
    micro-batch of one GPU, each with `answers` sequences: two in a DPO pair. `second_reference`:
    DPO's reference is another model than the policy it starts from, and is kept in memory too.
    `adapters`: parameters of LoRA, 0 if the whole model is trained.
    """

    gpus: int
    sharded: bool
    rows: int
    answers: int
    max_length: int
    bf16: bool
    checkpointing: bool
    adapters: int = 0
    second_reference: bool = False


class Memory(NamedTuple):
    """Bytes on one GPU at the peak of a training step.

    `engines`: of those that judge checkpoints meanwhile, in the same process.
    """

    weights: float
    gradients: float
    optimiser: float
    copies: float
    activations: float
    reference: float
    engines: float = 0.0

    @property
    def needed(self) -> float:
        """Return the sum."""
        return sum(self)


def training_memory(shape: Shape, setup: TrainingSetup) -> Memory:
    """Return what training needs on each GPU.

    The reference's log-probabilities are computed before training, so a reference that is the
    policy itself needs nothing. TRL computes logits in tiles, which belong to the reserve.
    """
    shards = setup.gpus if setup.sharded else 1
    trained = setup.adapters or shape.parameters
    return Memory(
        weights=_FP32 * (shape.parameters + setup.adapters) / shards,
        gradients=_FP32 * trained / shards,
        optimiser=_MOMENTS * trained / shards,
        copies=_copies(shape, setup),
        activations=activations(
            shape,
            setup.rows * setup.answers * setup.max_length,
            bf16=setup.bf16,
            checkpointing=setup.checkpointing,
        ),
        reference=_FP32 * shape.parameters / shards if setup.second_reference else 0.0,
    )


def _copies(shape: Shape, setup: TrainingSetup) -> float:
    """Return the copies that exist for the arithmetic only.

    Sharded: whole layers gathered from the other GPUs, with the gradient of one of them, and the
    parameters outside the layers, which stay gathered, with theirs. Not sharded: autocast's bf16
    copy of every parameter.
    """
    width = _BF16 if setup.bf16 else _FP32
    if not setup.sharded:
        return _BF16 * shape.parameters if setup.bf16 else 0.0
    layers, outer = _GATHERED_LAYERS, 1
    if not setup.adapters:
        layers, outer = layers + 1, outer + 1
    return width * (layers * shape.layer_parameters + outer * shape.outer_parameters)


def activations(shape: Shape, tokens: int, *, bf16: bool, checkpointing: bool) -> float:
    """Return the bytes kept from forward to backward for so many tokens.

    With checkpointing, each layer's input, and one layer's own activations while it is recomputed.
    """
    one_layer = tokens * activation_bytes(shape, bf16=bf16)
    if not checkpointing:
        return shape.layers * one_layer
    return shape.layers * tokens * _FP32 * shape.hidden + one_layer


def activation_bytes(shape: Shape, *, bf16: bool) -> int:
    """Return the activations of one layer for one token, with fused attention (no s x s matrix).

    fp32: the input and output of both norms, the inputs of the attention's and the MLP's matrices,
    query, key, value, attention output, and four vectors of the MLP. Autocast keeps the norms in
    fp32 and a bf16 copy of its input for each of five matrices. Both: one fp32 number for each norm
    and each head (the attention's log-sum-exp).
    """
    hidden, query, kv = shape.hidden, shape.heads * shape.per_head, shape.kv_width
    numbers = _FP32 * (2 + shape.heads)
    after_the_inputs = 2 * query + 2 * kv + 4 * shape.intermediate
    if bf16:
        return _FP32 * 4 * hidden + _BF16 * (5 * hidden + after_the_inputs) + numbers
    return _FP32 * (6 * hidden + after_the_inputs) + numbers


class SamplingMemory(NamedTuple):
    """Bytes on one GPU while sampling, and the tokens of key/value cache that there is room for."""

    weights: float
    cache: float
    room_tokens: int

    @property
    def needed(self) -> float:
        """Return the sum."""
        return self.weights + self.cache


def sampling_memory(
    shape: Shape,
    gpus: int,
    *,
    models: int,
    bytes_per_value: int,
    cache_tokens: int,
    available: float,
) -> SamplingMemory:
    """Return what sampling needs on each of the `gpus` that a model is divided among.

    Key/value heads are not divided: with more GPUs than such heads, some hold copies. `models` are
    kept loaded at once; `cache_tokens`, of all sequences together, must fit into the `available`
    bytes of one GPU.
    """
    weights = models * shape.parameters * bytes_per_value / gpus
    per_token = shape.kv_bytes_per_token(bytes_per_value) / min(gpus, shape.kv_heads)
    room = max(0, int((available - weights) // per_token))
    return SamplingMemory(weights, cache_tokens * per_token, room)
