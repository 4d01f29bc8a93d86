"""The transformers engine: one model folder on CPU or CUDA, batched sampling and scoring.

`HFEngine` is the public interface of engines/hf; the package's other modules are its internals and
are imported by it, tests and benchmarks only.

Reproducibility: each draw has its own random numbers, derived from (seed, conversation, draw
index), so it does not depend on the batch, on the order of requests, or on where a killed run was
resumed. Arithmetic is not exact: padding and batch shape change the order of floating-point sums,
so log-probabilities vary in the last digits (about 1e-6 in float32, 1e-2 in bfloat16), and a draw
whose random number falls that close to the boundary between two tokens can differ in another batch.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from core.errors import ModelError
from engines.draws import fit_prompts, think_for
from engines.hf.attention import can_share
from engines.hf.decoding import NO_NUMBERS, Batch, Limits, Prompt
from engines.hf.scoring import score_pairs
from engines.hf.shared_states import group_by_prefix
from engines.hf.ways import choose_states
from engines.models import (
    context_length,
    digest,
    load_model,
    load_tokenizer,
    pick_device,
    prompter_of,
    stop_ids,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import Unpack

    from core.config import EngineSection
    from core.records import Message
    from engines.engine import Continuation, Decoding, Logprob, Request, Sampled
    from engines.models import Opening

# Fewer prompts do not fill a batch of their own, so their prefix is not shared.
_MIN_GROUP = 4


class HFEngine:
    """A language model loaded by transformers; see the module's docstring for reproducibility."""

    def __init__(self, folder: Path, section: EngineSection, **opening: Unpack[Opening]) -> None:
        """Load the model; raises `ModelError` if the folder cannot be used."""
        self._device = torch.device(pick_device(section.device))
        dtype: torch.dtype = getattr(torch, section.dtype)
        trust = opening.get("trust_remote_code", False)
        self._tokenizer = load_tokenizer(folder, trust_remote_code=trust)
        model = load_model(folder, dtype, trust_remote_code=trust)
        self._model = model.to(self._device)
        self._make_states = choose_states(self._model)
        self._section = section
        self._prompter = prompter_of(self._tokenizer, **opening)
        self._thinking = opening.get("max_thinking_tokens", 0)
        self._stop = stop_ids(self._model, self._tokenizer)
        self._context = context_length(self._model.config)
        kind = f"transformers/{section.dtype}/{self._device.type}"
        self.fingerprint = f"{kind}/{digest(folder, **opening)}"

    def render(self, prompt: Sequence[Message] | str) -> list[int]:
        """Return a prompt's token ids: a conversation up to the assistant's turn, or raw text."""
        return self._prompter.render(prompt)

    def sample(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Sampled]:
        """Yield draws as they finish; see `Engine.sample`."""
        decoding = think_for(decoding, requests, self._thinking)
        fitting, too_long = fit_prompts(self._prompter, requests, decoding, self._context)
        yield from too_long
        prompts: list[Prompt] = []
        most = self._section.max_batch_rows
        for request, ids in fitting:
            starts, opening = range(0, len(request.draws), most), self._prompter.opening(ids)
            prompts += [
                Prompt(ids, request, request.draws[at : at + most], opening) for at in starts
            ]
        # The longest first, so that the last, sparsely filled batches hold the short prompts.
        prompts.sort(key=lambda prompt: len(prompt.ids), reverse=True)
        if not can_share(self._model):
            yield from self._decode([], prompts, decoding)
            return
        for shared, group in group_by_prefix(prompts, lambda prompt: prompt.ids, least=_MIN_GROUP):
            yield from self._decode(shared, group, decoding)

    @torch.inference_mode()
    def _decode(
        self, shared: list[int], prompts: list[Prompt], decoding: Decoding
    ) -> Iterator[Sampled]:
        most = self._section
        states = self._make_states(shared) if shared else self._make_states()
        limits = Limits(most.max_batch_rows, most.max_batch_tokens, len(shared))
        batch = Batch(states, decoding, limits, tokenizer=self._tokenizer, stop=self._stop)
        yield from batch.run(prompts)

    @torch.inference_mode()
    def score(self, requests: Sequence[Continuation]) -> list[Logprob]:
        """Return one result per request, in order; see engines/hf/scoring.py."""
        pairs, most = self._prompter.pairs(requests), self._section.max_batch_tokens
        found = score_pairs(self._model, pairs, window=self._context, cache_tokens=most)
        if any(math.isnan(one.total) for one in found):
            raise ModelError(NO_NUMBERS)
        return found
