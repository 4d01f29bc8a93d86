"""Reward models: sequence classifiers with one label that give a conversation a scalar score.

Rows of one batch are padded on the right. What a model gives must not depend on that: classifiers
that read the last token find it by the pad token, which may also end a turn, so every batch is
padded with a token that none of its rows holds where the model names no pad token of its own. A
model whose score of a padded row still differs is run row by row.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple

from core.errors import ModelError, first_line
from core.records import user
from engines.models import (
    check_folder,
    context_length,
    digest,
    load_tokenizer,
    not_finite,
    pick_device,
    prompter_of,
    quiet_transformers,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import Unpack

    import torch

    from core.config import EngineSection
    from core.records import Message
    from engines.models import Opening

_CLASSIFIER = "ForSequenceClassification"
_CHUNK = 1024  # rows that are sorted by length together: what a killed stage loses is a batch
# Of a padded row's score, relative: float32 and bfloat16 sums in another order.
_TOLERANCE = {"float32": 1e-3, "bfloat16": 5e-2}


class Reward(NamedTuple):
    """A conversation's score, by its place; None where it does not fit the model's window."""

    place: int
    score: float | None
    tokens: int


def is_reward_model(folder: Path) -> bool:
    """Whether a model folder's config.json names a sequence classifier."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        named = [*config.get("architectures", []), *config.get("auto_map", {})]
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return False
    return any(str(name).endswith(_CLASSIFIER) for name in named)


class RewardModel:
    """A reward model in this process, whatever engine samples: `score` conversations."""

    def __init__(self, folder: Path, section: EngineSection, **opening: Unpack[Opening]) -> None:
        """Load the model.

        Raises:
            ModelError: the folder cannot be used, has several labels or no weights of its score.
        """
        import torch

        trust = opening.get("trust_remote_code", False)
        self._section, self._device = section, torch.device(pick_device(section.device))
        self._dtype: torch.dtype = getattr(torch, section.dtype)
        self._model = _load(folder, self._dtype, trust=trust).to(self._device)
        self._pad: int | None = self._model.config.pad_token_id
        self._window = context_length(self._model.config)
        self._prompter = prompter_of(load_tokenizer(folder, trust_remote_code=trust), **opening)
        kind = f"transformers/{section.dtype}/{self._device.type}/reward"
        self.fingerprint = f"{kind}/{digest(folder, **opening)}"
        self._rows = section.max_batch_rows if self._pads_right() else 1

    def score(self, conversations: Sequence[Sequence[Message]]) -> Iterator[Reward]:
        """Yield the score of each conversation, whole turns by the chat template, in batches."""
        for start in range(0, len(conversations), _CHUNK):
            part = conversations[start : start + _CHUNK]
            ids = [self._prompter.turns(messages, prompt=False) for messages in part]
            fitting = [at for at in range(len(part)) if len(ids[at]) <= self._window]
            yield from (
                Reward(start + at, None, len(ids[at])) for at in {*range(len(part))} - {*fitting}
            )
            fitting.sort(key=lambda at: -len(ids[at]))  # alike in length: little padding
            while fitting:
                batch = fitting[: self._most_rows(len(ids[fitting[0]]))]
                del fitting[: len(batch)]
                scores = self._forward([ids[at] for at in batch])
                for at, score in zip(batch, scores, strict=True):
                    yield Reward(start + at, score, len(ids[at]))

    def _most_rows(self, length: int) -> int:
        return max(1, min(self._rows, self._section.max_batch_tokens // length))

    def _forward(self, rows: Sequence[Sequence[int]], longer: int = 0) -> list[float]:
        """Return the scores of rows, padded by `longer` more than they need."""
        import torch

        pad = self._pad if self._pad is not None else _unused({*(i for row in rows for i in row)})
        width = max(map(len, rows)) + longer
        ids = torch.full((len(rows), width), pad)
        mask = torch.zeros((len(rows), width), dtype=torch.long)
        for at, row in enumerate(rows):
            ids[at, : len(row)] = torch.tensor(row)
            mask[at, : len(row)] = 1
        self._model.config.get_text_config().pad_token_id = pad
        with torch.inference_mode():
            found = self._model(
                input_ids=ids.to(self._device), attention_mask=mask.to(self._device)
            )
        return [float(value) for value in found.logits.float()[:, 0].cpu()]

    def _pads_right(self) -> bool:
        """Whether a padded row has the score that it has alone."""
        answered: list[Message] = [*user("?"), {"role": "assistant", "content": "yes"}]
        row = self._prompter.turns(answered, prompt=False)
        ((alone,), (padded,)) = self._forward([row]), self._forward([row], longer=len(row))
        return math.isclose(alone, padded, rel_tol=_TOLERANCE[self._section.dtype], abs_tol=1e-3)


def _unused(used: set[int]) -> int:
    return next(token for token in range(len(used) + 1) if token not in used)


def _load(folder: Path, dtype: torch.dtype, *, trust: bool) -> Any:
    check_folder(folder)
    from safetensors import SafetensorError
    from transformers import AutoModelForSequenceClassification

    quiet_transformers()
    try:
        model, loaded = AutoModelForSequenceClassification.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=trust,
            output_loading_info=True,
        )
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        what = f"cannot load a sequence classifier ({first_line(error)})"
        raise ModelError(f"{folder}: {what}") from error
    if missing := sorted(loaded["missing_keys"]):
        what = f"the weights lack {missing[0]}: the scores would be random"
        raise ModelError(f"{folder}: {what}; name a trained reward model")
    if model.config.num_labels != 1:
        what = f"gives {model.config.num_labels} labels, a reward model gives one scalar"
        raise ModelError(f"{folder}: {what}")
    if broken := not_finite(model):
        raise ModelError(f"{folder}: {broken}; download it again")
    return model.eval()
