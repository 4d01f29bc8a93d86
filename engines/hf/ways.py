"""How a model is run, tried when it is loaded: by SharedStates, by its own cache, or not at all.

A model's configuration does not say all that its attention does (sinks, caps, masks and positions
of its own), so each way is compared with the model's own forward pass over a few tokens, and the
fastest that gives the same logits is taken.
"""

from __future__ import annotations

import json
from functools import cache, partial
from typing import TYPE_CHECKING, TypeAlias

import torch

from core.errors import ModelError, first_line
from core.progress import say
from engines.hf.attention import SEGMENTED, can_share
from engines.hf.decoding import NO_NUMBERS
from engines.hf.layers import Layers, are_plain
from engines.hf.products import prepare_for_few_rows, prepare_head
from engines.hf.shared_states import SharedStates
from engines.hf.stock_states import StockStates
from engines.models import attention_of, has_plain_attention

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from transformers import PreTrainedModel

    from engines.hf.decoding import States

    MakeStates: TypeAlias = Callable[..., States]  # of a shared prefix, or of nothing

# Accepted differences of logits, as a share of their spread. Rounding gives the embedded model 1e-5
# in float32 and 0.06 in bfloat16; a missing mask or a second softmax 0.3 to 1.
_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.25}
# A text's tokens, and those of the shorter one that is run beside it and begins like it.
_LENGTHS = (12, 8)
_READ_SINGLY = 2
_DRAWS = 3


# In the order in which they are tried, the fastest first.
_WAYS = ("written_out", "shared", "padded", "alike")
_SHARING = ("written_out", "shared")
# The way of each architecture that this process has tried: a run's models differ in weights only.
_chosen: dict[tuple[str, torch.dtype, torch.device], str] = {}


@torch.inference_mode()
def choose_states(model: PreTrainedModel) -> MakeStates:
    """Prepare a loaded model to be run; return how the states of rows are made.

    It gets the attention of SharedStates if it can share prefixes (`can_share`), and faster
    products; it is compared with what it gave before.

    Raises:
        ModelError: it cannot be run, or its cache gives other logits than whole sequences do.
    """
    name, own = model.config.model_type, attention_of(model)
    settings = {**model.config.to_dict(), "_name_or_path": ""}
    kind = (json.dumps(settings, sort_keys=True, default=str), model.dtype, model.device)
    known = _chosen.get(kind)
    text = _text(model)
    expected = None if known else _expected(model, text)
    prepare_head(model)
    faults: list[str] = []
    for way in [known] if known else _WAYS:
        if way == "written_out" and not are_plain(model):
            continue
        fault = _set_attention(model, SEGMENTED if way in _SHARING else own)
        make = None if fault else _states(model, way)
        if make and expected is not None:
            fault = _fault(make, text, expected, _TOLERANCE[model.dtype])
        if make and not fault:
            _chosen[kind] = way
            if faults and way not in _SHARING:
                _tell(f"{name}: prompts share no work, which is slower ({faults[0]})")
            return make
        faults.append(fault)
    raise ModelError(
        f"{name}: cannot be sampled with engine.kind = 'transformers' ({faults[-1]}); use 'vllm', "
        "or 'openai' with a server of this model"
    )


def _states(model: PreTrainedModel, way: str) -> MakeStates:
    if way == "written_out":
        return partial(SharedStates, model, layers=Layers(model))
    prepare_for_few_rows(model)
    if way == "shared":
        return partial(SharedStates, model)
    return partial(StockStates, model, pads=way == "padded")


def _expected(model: PreTrainedModel, text: torch.Tensor) -> torch.Tensor:
    try:
        logits: torch.Tensor = model(input_ids=text[None], use_cache=False).logits[0].float()
    except Exception as error:
        name = model.config.model_type
        raise ModelError(f"{name}: transformers cannot run it ({first_line(error)})") from error
    if not bool(logits.amax(dim=-1).isfinite().all()):
        raise ModelError(NO_NUMBERS)
    return logits


def _set_attention(model: PreTrainedModel, name: str) -> str:
    """Set a model's attention function; return why it cannot be, "" if it was set."""
    if name == SEGMENTED and not has_plain_attention(model.config.get_text_config()):
        return "its attention is not plain"
    if name != attention_of(model):
        try:
            model.set_attn_implementation(name)
        except (ValueError, ImportError) as error:
            return first_line(error)
    return "its attention cannot be replaced" if name == SEGMENTED and not can_share(model) else ""


@cache
def _tell(message: str) -> None:
    """Say it once in a process."""
    say(f"  note: {message}")


def _text(model: PreTrainedModel) -> torch.Tensor:
    """Return arbitrary tokens, none of them near the special ones."""
    size = model.get_input_embeddings().weight.shape[0]
    random = torch.Generator().manual_seed(0)
    ids = torch.randint(size // 4, size // 2, (_LENGTHS[0],), generator=random)
    return ids.to(model.device)


def _fault(make: MakeStates, text: torch.Tensor, expected: torch.Tensor, tolerance: float) -> str:
    """Return what is wrong with states, "" if they give the expected logits."""
    try:
        batches = [_LENGTHS] if make().pads else [(length,) for length in _LENGTHS]
        wrong = max(_difference(make(), text, expected, batch) for batch in batches)
    except Exception as error:  # noqa: BLE001 - models raise anything; the next way is tried
        return first_line(error)
    close = wrong <= tolerance
    return "" if close else f"its logits differ by {wrong:.1g} of their spread"


def _difference(
    states: States, text: torch.Tensor, expected: torch.Tensor, lengths: Sequence[int]
) -> float:
    """Return the largest difference of logits while a text is read to some of its lengths.

    Each is read by three rows, so that no number of rows is another's by chance; the first row ends
    before the last token.
    """
    rows = [length for length in lengths for _ in range(_DRAWS)]
    begun = [text[: length - _READ_SINGLY].tolist() for length in lengths]
    logits = states.admit(begun, [_DRAWS] * len(lengths))
    worst = 0.0
    for left in range(_READ_SINGLY, 0, -1):
        read = torch.tensor(rows) - left
        right = expected[read - 1]
        error = (logits.float() - right).pow(2).mean(dim=-1).sqrt() / right.std(dim=-1)
        worst = max(worst, float(error.nan_to_num(nan=float("inf")).max()))
        if left > 1:
            states.keep(range(1, len(rows)))
            rows = rows[1:]
            logits = states.step(text[read[1:]])
    return worst
