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
from jinja2 import TemplateError

from core import hashing
from engines import attention
from engines.engine import Logprob, Sampled, draw_seed
from engines.models import context_length, load_model, load_tokenizer, stop_ids
from engines.sampling import nucleus_sample, uniforms

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from transformers.cache_utils import Cache

    from core.config import EngineSection
    from core.records import Message
    from engines.engine import Continuation, Decoding, Finish, Request

# Finished rows are taken out of the batch when this share of it is done: each time costs a copy.
_COMPACT_SHARE = 0.125
_SCORE_BATCH_TOKENS = 8192
# A shorter common beginning is not worth a forward pass of its own.
_LEAST_SHARED_TOKENS = 64


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
        self._stop = stop_ids(self._model, self._tokenizer)
        self._context = context_length(self._model)
        digest = weights_sha256 or hashing.sha256_json(
            [hashing.sha256_file(path) for path in hashing.model_files(folder)]
        )
        self.fingerprint = f"transformers/{section.dtype}/{self._device.type}/{digest}"

    def render(self, messages: Sequence[Message]) -> list[int]:
        """Return the prompt's token ids: chat template, ready for the assistant's turn.

        Some templates refuse a system turn; its text then opens the user's turn.
        """
        turns = list(messages)
        try:
            return self._apply_template(turns)
        except TemplateError:
            if len(turns) < 2 or turns[0]["role"] != "system":  # noqa: PLR2004 - system and user
                raise
        text = f"{turns[0]['content']}\n\n{turns[1]['content']}"
        return self._apply_template([{"role": "user", "content": text}, *turns[2:]])

    def _apply_template(self, messages: list[Message]) -> list[int]:
        ids: list[int] = self._tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=False
        )
        return ids

    def sample(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Sampled]:
        """Yield draws as they finish; see `Engine.sample`."""
        rows: list[_Row] = []
        for request in requests:
            ids = self.render(request.messages)
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
                stopped = token_id in self._stop
                if stopped or step + 1 == decoding.max_new_tokens:
                    finished.add(row)
                    yield self._finished(rows[row], new_ids[row], stopped=stopped)
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
        shared = _common_prefix(prompts)
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

    def _finished(self, row: _Row, ids: list[int], *, stopped: bool) -> Sampled:
        text = self._tokenizer.decode(ids[:-1] if stopped else ids, skip_special_tokens=True)
        finish: Finish = "stop" if stopped else "length"
        return Sampled(row.request.key, row.draw, text, len(ids), finish)

    @torch.inference_mode()
    def score(self, requests: Sequence[Continuation]) -> list[Logprob]:
        """Return log-probabilities, longest requests first in memory, results in order given."""
        pairs = [self._encode_pair(request) for request in requests]
        order = sorted(range(len(pairs)), key=lambda i: -len(pairs[i][0]) - len(pairs[i][1]))
        results: dict[int, Logprob] = {}
        start = 0
        while start < len(order):
            width = sum(map(len, pairs[order[start]]))
            count = max(1, _SCORE_BATCH_TOKENS // width)
            chunk = order[start : start + count]
            results |= zip(chunk, self._score_batch([pairs[i] for i in chunk]), strict=True)
            start += count
        return [results[i] for i in range(len(pairs))]

    def _encode_pair(self, request: Continuation) -> tuple[list[int], list[int]]:
        """Tokenise context and continuation so that they join as the whole text would.

        Spaces at the end of the context belong to the continuation's first token; an empty context
        is replaced by one end-of-text token, as lm-eval does.
        """
        context = request.context.rstrip()
        moved = request.context[len(context) :]
        if not context:
            text = moved + request.continuation
            ids = self._tokenizer(text, add_special_tokens=False).input_ids
            return [self._tokenizer.eos_token_id], ids
        whole = self._tokenizer(context + moved + request.continuation).input_ids
        known = self._tokenizer(context).input_ids
        return whole[: len(known)], whole[len(known) :]

    def _score_batch(self, pairs: list[tuple[list[int], list[int]]]) -> list[Logprob]:
        sequences = [(context + target)[:-1] for context, target in pairs]
        width = max(map(len, sequences))
        ids = torch.full((len(pairs), width), self._tokenizer.pad_token_id, device=self._device)
        mask = torch.zeros_like(ids)
        for at, sequence in enumerate(sequences):
            ids[at, : len(sequence)] = torch.tensor(sequence, device=self._device)
            mask[at, : len(sequence)] = 1
        hidden = self._model.base_model(input_ids=ids, attention_mask=mask).last_hidden_state
        head = self._model.get_output_embeddings()
        results = []
        for at, (context, target) in enumerate(pairs):
            states = hidden[at, len(context) - 1 : len(context) - 1 + len(target)]
            logps = torch.log_softmax(head(states).float(), dim=-1)
            wanted = torch.tensor(target, device=self._device)
            total = float(logps.gather(1, wanted[:, None]).sum())
            greedy = bool((logps.argmax(dim=-1) == wanted).all())
            results.append(Logprob(total, len(target), greedy))
        return results


def _common_prefix(prompts: list[list[int]]) -> int:
    """Return how many tokens all prompts begin with (0 if too few); each keeps one of its own."""
    if len(prompts) < 2:  # noqa: PLR2004 - nobody to share with
        return 0
    low, high = min(prompts), max(prompts)
    limit = min(map(len, prompts)) - 1
    length = next((i for i in range(limit) if low[i] != high[i]), limit)
    return length if length >= _LEAST_SHARED_TOKENS else 0


def _pick_device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
