"""The transformers engine: one model folder on CPU or CUDA, batched sampling and scoring.

Reproducibility: each draw has its own random numbers, derived from (seed, conversation, draw
index), so it does not depend on what else is in the batch, on the order of requests, or on where a
killed run was resumed. What cannot be promised is arithmetic: padding and batch shape change the
order of floating-point sums, so log-probabilities move in the last digits (about 1e-6 in float32,
1e-2 in bfloat16), and a draw whose random number falls that close to a boundary between two tokens
can come out differently in another batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from core import hashing
from engines import attention
from engines.engine import Sampled, draw_seed
from engines.models import context_length, load_model, load_tokenizer, stop_ids
from engines.prompting import Prompter
from engines.sampling import nucleus_sample, uniforms
from engines.scoring import common_prefix, score_pairs
from engines.stopping import StopStrings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from transformers.cache_utils import Cache

    from core.config import EngineSection
    from core.records import Message
    from engines.engine import Continuation, Decoding, Finish, Logprob, Request

# Finished rows are taken out of the batch when this share of it is done: each time costs a copy.
_COMPACT_SHARE = 0.125


class _Row(NamedTuple):
    """One draw on its way: which request, which draw, which prompt tokens."""

    request: Request
    draw: int
    prompt_ids: list[int]


class HFEngine:
    """A language model loaded by transformers. See the module's docstring for what is exact."""

    def __init__(
        self,
        folder: Path,
        section: EngineSection,
        *,
        weights_sha256: str | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        """Load the model; `weights_sha256` (from its manifest) spares hashing the folder.

        Raises:
            ModelError: the folder cannot be used.
        """
        self._device = _pick_device(section.device)
        self._dtype = torch.bfloat16 if section.dtype == "bfloat16" else torch.float32
        self._tokenizer = load_tokenizer(folder, trust_remote_code=trust_remote_code)
        self._model = load_model(
            folder,
            self._dtype,
            attention=attention.GROUPED,
            trust_remote_code=trust_remote_code,
        ).to(self._device)
        self._section = section
        self._prompter = Prompter(self._tokenizer)
        self._stop = stop_ids(self._model, self._tokenizer)
        self._context = context_length(self._model)
        digest = weights_sha256 or hashing.sha256_json(
            [hashing.sha256_file(path) for path in hashing.model_files(folder)]
        )
        self.fingerprint = f"transformers/{section.dtype}/{self._device.type}/{digest}"

    def render(self, prompt: Sequence[Message] | str) -> list[int]:
        """Return a prompt's token ids: a conversation up to the assistant's turn, or raw text."""
        return self._prompter.render(prompt)

    def sample(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Sampled]:
        """Yield draws as they finish; see `Engine.sample`."""
        rows: list[_Row] = []
        room = self._context - decoding.max_new_tokens
        for request in requests:
            ids = self.render(request.messages)
            if decoding.truncate and room > 0:
                ids = ids[-room:]
            if len(ids) + decoding.max_new_tokens > self._context:
                yield from (Sampled(request.key, d, "", 0, "too_long") for d in request.draws)
                continue
            rows.extend(_Row(request, draw, ids) for draw in request.draws)
        rows.sort(key=lambda row: len(row.prompt_ids), reverse=True)
        for batch in self._batches(rows, decoding.max_new_tokens):
            yield from self._decode(batch, decoding)

    def _batches(self, rows: list[_Row], new_tokens: int) -> Iterator[list[_Row]]:
        """Cut length-sorted rows into batches within the row and token bounds."""
        start = 0
        while start < len(rows):
            width = len(rows[start].prompt_ids) + new_tokens
            fit = max(1, self._section.max_batch_tokens // width)
            count = min(fit, self._section.max_batch_rows)
            yield rows[start : start + count]
            start += count

    @torch.inference_mode()
    def _decode(self, rows: list[_Row], decoding: Decoding) -> Iterator[Sampled]:
        """Decode one batch to its end, yielding rows as they stop and dropping them from it."""
        cache, mask, logits = self._prefill(rows, decoding.max_new_tokens)
        random = uniforms(
            [draw_seed(decoding, row.request.messages, row.draw) for row in rows],
            decoding.max_new_tokens,
        )
        strings = StopStrings(self._tokenizer, decoding.stop)
        active = list(range(len(rows)))  # batch position -> row
        finished: set[int] = set()
        new_ids: list[list[int]] = [[] for _ in rows]
        position = mask.sum(dim=1)
        for step in range(decoding.max_new_tokens):
            token = nucleus_sample(
                logits,
                random[active, step],
                temperature=decoding.temperature,
                top_p=decoding.top_p,
            )
            for at, (row, token_id) in enumerate(zip(active, token.tolist(), strict=True)):
                if row in finished:
                    continue
                new_ids[row].append(token_id)
                ended = token_id in self._stop
                last = step + 1 == decoding.max_new_tokens
                if ended or last or strings.reached(new_ids[row]):
                    finished.add(row)
                    yield _finished(rows[row], new_ids[row], strings, ended=ended)
                    mask[at] = 0
                    mask[at, -1] = 1  # a fully masked row would turn into NaN
            waiting = [at for at, row in enumerate(active) if row not in finished]
            if not waiting:
                return
            if len(active) - len(waiting) >= max(1, _COMPACT_SHARE * len(active)):
                keep = torch.tensor(waiting, device=self._device)
                cache.batch_select_indices(keep)
                mask, position, token = mask[keep], position[keep], token[keep]
                active = [active[at] for at in waiting]
            mask = torch.cat([mask, mask.new_ones(len(active), 1)], dim=1)
            logits = self._model(
                input_ids=token[:, None],
                attention_mask=mask,
                position_ids=position[:, None],
                past_key_values=cache,
                use_cache=True,
            ).logits[:, -1]
            position = position + 1

    def _prefill(
        self, rows: list[_Row], new_tokens: int
    ) -> tuple[Cache, torch.Tensor, torch.Tensor]:
        """Run each distinct prompt once, left-padded; then give every draw its own copy.

        What all prompts begin with (a judge's rubric) is run once for all of them; the padding then
        lies between that prefix and each prompt's own tokens, masked out as everywhere.
        """
        distinct: dict[str, int] = {}
        prompts: list[list[int]] = []
        for row in rows:
            if row.request.key not in distinct:
                distinct[row.request.key] = len(prompts)
                prompts.append(row.prompt_ids)
        shared = common_prefix(prompts)
        ids, mask = self._pad_left([prompt[shared:] for prompt in prompts])
        cache = attention.reserved_cache(self._model.config, shared + ids.shape[1] + new_tokens)
        if shared:
            prefix = torch.tensor([prompts[0][:shared]], device=self._device)
            self._model.base_model(input_ids=prefix, past_key_values=cache, use_cache=True)
            cache.batch_select_indices(torch.zeros(len(prompts), dtype=torch.long).to(self._device))
            mask = torch.cat([mask.new_ones(len(prompts), shared), mask], dim=1)
        position = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, shared:]
        logits = self._model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=position,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        copies = torch.tensor([distinct[row.request.key] for row in rows], device=self._device)
        if len(prompts) < len(rows):
            cache.batch_select_indices(copies)
        return cache, mask[copies], logits[copies]

    def _pad_left(self, sequences: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ids and attention mask, shape (rows, longest)."""
        width = max(map(len, sequences))
        ids = torch.full((len(sequences), width), self._tokenizer.pad_token_id, device=self._device)
        mask = torch.zeros_like(ids)
        for at, sequence in enumerate(sequences):
            ids[at, width - len(sequence) :] = torch.tensor(sequence, device=self._device)
            mask[at, width - len(sequence) :] = 1
        return ids, mask

    @torch.inference_mode()
    def score(self, requests: Sequence[Continuation]) -> list[Logprob]:
        """Return one result per request, in order; see engines/scoring.py for what is shared."""
        pairs = self._prompter.pairs(requests)
        return score_pairs(
            self._model,
            pairs,
            window=self._context,
            cache_tokens=self._section.max_batch_tokens,
        )


def _finished(row: _Row, ids: list[int], strings: StopStrings, *, ended: bool) -> Sampled:
    text, cut = strings.cut(ids[:-1] if ended else ids)
    finish: Finish = "stop" if ended or cut else "length"
    return Sampled(row.request.key, row.draw, text, len(ids), finish)


def _pick_device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
