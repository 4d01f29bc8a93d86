"""The decoding loop with continuous batching: finished draws leave, waiting prompts take over."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch

from core.errors import ModelError
from engines.draws import DrawReader
from engines.engine import decoding_of, draw_seed
from engines.hf.sampling import nucleus_sample, uniforms

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from transformers import PreTrainedTokenizerBase

    from engines.engine import Decoding, Request, Sampled

NO_NUMBERS = (
    "the model's outputs are NaN or infinite: its training diverged, or engine.dtype is too small "
    "for it (try float32)"
)
# Finished rows are removed, and prompts admitted, only once they are this share of the rows: both
# copy keys and values.
_TURNOVER = 0.125


class Prompt(NamedTuple):
    """A prompt's tokens and the draws wanted of it, no more than a batch holds.

    `opening`: the mark by which the prompt opens a thought, the beginning of the draws' text.
    """

    ids: list[int]
    request: Request
    draws: tuple[int, ...]
    opening: str = ""


class States(Protocol):
    """Keys and values of the rows being decoded."""

    joins: bool
    pads: bool

    def admit(self, prompts: Sequence[list[int]], draws: Sequence[int]) -> torch.Tensor:
        """Read prompts and add rows; return the new rows' logits, shape (new rows, vocabulary)."""

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Append a token to every row; return their logits, shape (rows, vocabulary)."""

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these (ascending)."""


class _Row:
    """One draw being decoded."""

    __slots__ = ("draw", "ended", "ids", "prompt")

    def __init__(self, prompt: Prompt, draw: int) -> None:
        self.prompt, self.draw = prompt, draw
        self.ids: list[int] = []
        self.ended = False


class Limits(NamedTuple):
    """Limits of a batch; the `shared` prefix tokens are stored once for all rows."""

    rows: int
    tokens: int
    shared: int


class Batch:
    """Decodes prompts to the end, in the order given, as many at a time as the limits allow."""

    def __init__(
        self,
        states: States,
        decoding: Decoding,
        limits: Limits,
        *,
        tokenizer: PreTrainedTokenizerBase,
        stop: frozenset[int],
    ) -> None:
        """Start without rows. `stop` are the tokens that end a turn."""
        self._states, self._decoding, self._limits = states, decoding, limits
        self._stop = stop
        self._reader = DrawReader(tokenizer, decoding)
        self._rows: list[_Row] = []
        self._random = torch.zeros((0, decoding.most_tokens), dtype=torch.double)
        self._temperature = torch.zeros(0)

    def run(self, prompts: Sequence[Prompt]) -> Iterator[Sampled]:
        """Yield every draw of every prompt as it ends."""
        waiting = deque(prompts)
        logits: torch.Tensor | None = None
        while waiting or self._rows:
            if entering := self._next(waiting):
                fresh = self._admit(entering)
                logits = fresh if logits is None else torch.cat([logits, fresh])
            if logits is None:
                raise ValueError("a prompt without draws")
            tokens = self._choose(logits)
            yield from self._append(tokens.tolist())
            staying = self._remove_finished()
            if staying is not None:
                tokens = tokens[torch.tensor(staying, dtype=torch.long, device=tokens.device)]
            logits = self._states.step(tokens) if self._rows else None

    def _next(self, waiting: deque[Prompt]) -> list[Prompt]:
        """Remove and return the prompts that can be admitted now."""
        if self._rows and not self._states.joins:
            return []
        free = self._limits.rows - len(self._rows)
        if self._rows and free < _TURNOVER * self._limits.rows:
            return []
        entering: list[Prompt] = []
        rows = len(self._rows)
        while waiting and self._fits([*entering, waiting[0]], rows + len(waiting[0].draws)):
            entering.append(waiting.popleft())
            rows += len(entering[-1].draws)
        return entering

    def _fits(self, entering: list[Prompt], rows: int) -> bool:
        if not self._rows and len(entering) == 1:
            return True
        if not self._states.pads and len(entering[-1].ids) != len(entering[0].ids):
            return False
        held = {id(prompt): prompt for prompt in [*entering, *(row.prompt for row in self._rows)]}
        longest = max(len(prompt.ids) for prompt in held.values()) - self._limits.shared
        tokens = longest * len(held) + rows * self._decoding.most_tokens + self._limits.shared
        return rows <= self._limits.rows and tokens <= self._limits.tokens

    def _admit(self, entering: list[Prompt]) -> torch.Tensor:
        logits = self._states.admit(
            [prompt.ids for prompt in entering], [len(prompt.draws) for prompt in entering]
        )
        if not bool(logits.amax(dim=-1).isfinite().all()):
            raise ModelError(NO_NUMBERS)
        fresh = [_Row(prompt, draw) for prompt in entering for draw in prompt.draws]
        decoding = self._decoding
        seeds = [draw_seed(decoding, row.prompt.request.messages, row.draw) for row in fresh]
        temperature = [decoding_of(row.prompt.request, decoding).temperature for row in fresh]
        self._random = torch.cat([self._random, uniforms(seeds, decoding.most_tokens)])
        self._temperature = torch.cat([self._temperature, torch.tensor(temperature)])
        self._rows += fresh
        return logits

    def _choose(self, logits: torch.Tensor) -> torch.Tensor:
        # A finished row is decoded until it is removed; its further tokens are discarded.
        last = self._decoding.most_tokens - 1
        step = torch.tensor([min(len(row.ids), last) for row in self._rows])
        uniform = self._random[torch.arange(len(self._rows)), step]
        temperature = self._temperature.to(logits.device)
        return nucleus_sample(logits, uniform, temperature=temperature, top_p=self._decoding.top_p)

    def _append(self, tokens: list[int]) -> Iterator[Sampled]:
        for row, token in zip(self._rows, tokens, strict=True):
            if row.ended:
                continue
            row.ids.append(token)
            at_end = token in self._stop
            used_up = len(row.ids) == self._decoding.most_tokens
            if at_end or used_up or self._reader.strings.reached(row.ids):
                row.ended = True
                key = row.prompt.request.key
                opening = row.prompt.opening
                yield self._reader.read(key, row.draw, row.ids, opening, ended=at_end)

    def _remove_finished(self) -> list[int] | None:
        """Remove finished rows if they are enough; return which stay, None if nothing changed."""
        staying = [at for at, row in enumerate(self._rows) if not row.ended]
        gone = len(self._rows) - len(staying)
        if not gone or (staying and gone < _TURNOVER * len(self._rows)):
            return None
        self._states.keep(staying)
        kept = torch.tensor(staying, dtype=torch.long)
        self._random, self._temperature = self._random[kept], self._temperature[kept]
        self._rows = [self._rows[at] for at in staying]
        return staying
