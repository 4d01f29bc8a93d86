"""Keys and values of the rows being decoded, stored once wherever rows share them.

Three levels, joined by segments.py: the prefix that all prompts share (a judge's rubric), the rest
of each prompt (shared by its draws), and each draw's generated tokens. New draws can join at any
step: each row has its own length and position.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, TypeVar

import torch
from torch.nn.functional import pad

from engines.hf.attention import run, tokens_at_once
from engines.hf.segments import Part, attend, join

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from transformers import PreTrainedModel

    from engines.hf.attention import NewTokens
    from engines.hf.layers import Layers

_T = TypeVar("_T")
_GROWTH = 64  # tokens by which the room for new tokens grows
_MIN_SHARED_TOKENS = 32  # a shorter prefix is not worth a forward pass of its own


def group_by_prefix(
    members: Sequence[_T], tokens: Callable[[_T], list[int]], *, least: int = 2
) -> Iterator[tuple[list[int], list[_T]]]:
    """Yield each shared prefix with its members, in order; last [] with those that share none.

    Args:
        members: what has tokens.
        tokens: returns a member's token ids.
        least: a group with fewer members is not kept apart.
    """
    alike: dict[tuple[int, ...], list[_T]] = defaultdict(list)
    for member in members:
        alike[tuple(tokens(member)[:_MIN_SHARED_TOKENS])].append(member)
    alone: list[_T] = []
    for group in alike.values():
        shared = common_prefix([tokens(member) for member in group])
        if shared and len(group) >= least:
            yield tokens(group[0])[:shared], group
        else:
            alone += group
    if alone:
        yield [], alone


def common_prefix(sequences: Sequence[list[int]]) -> int:
    """Return the length of the common prefix, 0 if it is short; each keeps one token of its own."""
    if len(sequences) < 2:  # noqa: PLR2004 - nothing to share
        return 0
    low, high = min(sequences), max(sequences)
    limit = min(map(len, sequences)) - 1
    length = next((i for i in range(limit) if low[i] != high[i]), limit)
    return length if length >= _MIN_SHARED_TOKENS else 0


class SharedStates:
    """The states of the rows being decoded; every prompt begins with `prefix`."""

    joins = True
    """Rows may be admitted while others are being decoded."""
    pads = True
    """Prompts that are admitted together may differ in length."""

    def __init__(
        self, model: PreTrainedModel, prefix: Sequence[int] = (), *, layers: Layers | None = None
    ) -> None:
        """Read the prefix. `layers`: the model's, written out for decoding."""
        self._model, self._device, self._layers = model, model.device, layers
        self._prefix_length = len(prefix)
        self._prefix = SharedPrefix()
        self._prompts: list[torch.Tensor] = []  # empty until something was read
        self._generated: list[torch.Tensor] = []
        self._prompt_lengths = torch.zeros(0, dtype=torch.long, device=self._device)
        self._generated_lengths = torch.zeros(0, dtype=torch.long, device=self._device)
        self._group = torch.zeros(0, dtype=torch.long, device=self._device)  # row -> prompt
        if prefix:
            self._prefix.read(model, prefix)

    def admit(self, prompts: Sequence[list[int]], draws: Sequence[int]) -> torch.Tensor:
        """Read prompts and add `draws[i]` rows for prompt i; return the new rows' logits.

        The prompts begin with the prefix and have tokens of their own behind it.
        """
        logits = []
        start, at_once = 0, tokens_at_once(self._device)
        while start < len(prompts):
            width = len(prompts[start]) - self._prefix_length
            count = max(1, at_once // width)
            some = [prompt[self._prefix_length :] for prompt in prompts[start : start + count]]
            logits.append(self._read(some, draws[start : start + count]))
            start += count
        return torch.cat(logits)

    def _read(self, prompts: list[list[int]], draws: Sequence[int]) -> torch.Tensor:
        ids, lengths = _pad_right(prompts, self._device)
        positions = torch.arange(ids.shape[1], device=self._device) + self._prefix_length
        prefill = PrefillState(self._prefix)
        hidden = run(self._model, ids, positions.expand_as(ids), prefill)
        last = hidden[torch.arange(len(prompts), device=self._device), lengths - 1]
        logits: torch.Tensor = self._model.get_output_embeddings()(last)
        copies = torch.tensor(draws, device=self._device)
        rows = sum(draws)
        group = torch.arange(len(prompts), device=self._device) + len(self._prompt_lengths)
        self._group = torch.cat([self._group, group.repeat_interleave(copies)])
        self._prompt_lengths = torch.cat([self._prompt_lengths, lengths])
        self._generated_lengths = torch.cat([self._generated_lengths, lengths.new_zeros(rows)])
        self._prompts = _stack(self._prompts, prefill.keys)
        self._generated = _stack(
            self._generated, [k.new_zeros((rows, k.shape[1], 0, k.shape[3])) for k in prefill.keys]
        )
        return logits.repeat_interleave(copies, dim=0)

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Append one token to every row, shape (rows,); return the next logits."""
        positions = (
            self._prefix_length + self._prompt_lengths[self._group] + self._generated_lengths
        )
        layout = _Layout(
            self._group, self._prompt_lengths, self._generated_lengths, self._model.dtype
        )
        decode = DecodeState(self._prefix, self._prompts, self._generated, layout)
        self._generated_lengths = self._generated_lengths + 1
        if self._layers:
            return self._layers.step(tokens, positions, decode)
        hidden = run(self._model, tokens[:, None], positions[:, None], decode)
        logits: torch.Tensor = self._model.get_output_embeddings()(hidden[:, -1])
        return logits

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these, and prompts without rows."""
        kept = torch.tensor(rows, dtype=torch.long, device=self._device)
        groups, group = self._group[kept].unique(return_inverse=True)
        longest = int(self._generated_lengths[kept].max()) if len(rows) else 0
        self._generated = [_select(keys, kept, longest, room=_GROWTH) for keys in self._generated]
        if len(groups) < len(self._prompt_lengths):
            longest = int(self._prompt_lengths[groups].max()) if len(rows) else 0
            self._prompts = [_select(keys, groups, longest) for keys in self._prompts]
            self._prompt_lengths = self._prompt_lengths[groups]
        self._group, self._generated_lengths = group, self._generated_lengths[kept]


class SharedPrefix:
    """Keys and values of a prefix that all rows share; none until `read`."""

    def __init__(self) -> None:
        self._keys: list[torch.Tensor] = []

    def read(self, model: PreTrainedModel, tokens: Sequence[int]) -> None:
        """Run the tokens through the model and keep their keys and values."""
        ids = torch.tensor([list(tokens)], device=model.device)
        prefill = PrefillState(self)
        run(model, ids, torch.arange(len(tokens), device=model.device)[None], prefill)
        self._keys = prefill.keys

    def attend(self, new: NewTokens) -> list[Part]:
        """Return attention of every query over the prefix: one part, or none without a prefix.

        All rows' queries, and the heads that share a key head, are rows of one product.
        """
        if not self._keys:
            return []
        kept = _of_layer(self._keys, new.layer)
        rows, heads, tokens, width = new.query.shape
        shared = kept[0].shape[1]
        stacked = (
            new.query.reshape(rows, shared, -1, width).transpose(0, 1).reshape(1, shared, -1, width)
        )
        output, mass = attend(stacked, *kept, scale=new.scale)
        output = output.view(shared, rows, -1, width).transpose(0, 1)
        mass = mass.view(shared, rows, -1).transpose(0, 1)
        return [Part(output.reshape(rows, heads, tokens, width), mass.reshape(rows, heads, tokens))]


class PrefillState:
    """Prompt tokens, padded on the right, attend to the prefix and causally to each other.

    `keys` collects the keys and then the values of each layer in turn.
    """

    def __init__(self, prefix: SharedPrefix) -> None:
        self._prefix = prefix
        self.keys: list[torch.Tensor] = []

    def attend(self, new: NewTokens) -> torch.Tensor:
        """See `AttentionState`."""
        self.keys += [new.key, new.value]
        own = attend(new.query, new.key, new.value, scale=new.scale, causal=True)
        return join([own, *self._prefix.attend(new)])


class _Layout:
    """Row and length indices of one decoding step, the same for all layers."""

    def __init__(
        self,
        group: torch.Tensor,
        prompt_lengths: torch.Tensor,
        generated_lengths: torch.Tensor,
        dtype: torch.dtype,
    ) -> None:
        counts = torch.bincount(group, minlength=len(prompt_lengths))
        first = counts.cumsum(0) - counts  # rows of a prompt stand together
        self.group = group
        self.rows = torch.arange(len(group), device=group.device)
        self.place = self.rows - first[group]
        self.draws = int(counts.max())
        self.full = bool((counts == self.draws).all())  # as many rows of each prompt
        self.prompt_mask = _hide_beyond(prompt_lengths, dtype)
        self.lengths = generated_lengths
        self.width = int(generated_lengths.max()) + 1
        even = bool((generated_lengths == generated_lengths[0]).all())
        self.generated_mask = None if even else _hide_beyond(generated_lengths + 1, dtype)


def _hide_beyond(lengths: torch.Tensor, dtype: torch.dtype) -> torch.Tensor | None:
    """Return what to add to scores, shape (rows, 1, 1, longest); None if all are equally long."""
    longest = int(lengths.max())
    hidden = torch.arange(longest, device=lengths.device) >= lengths[:, None]
    if not bool(hidden.any()):
        return None
    mask = torch.zeros(hidden.shape, dtype=dtype, device=lengths.device)
    return mask.masked_fill(hidden, float("-inf"))[:, None, None]


class DecodeState:
    """One new token per row attends to the prefix, its prompt, and its row's generated tokens."""

    def __init__(
        self,
        prefix: SharedPrefix,
        prompts: list[torch.Tensor],
        generated: list[torch.Tensor],
        layout: _Layout,
    ) -> None:
        """Keep references: `attend` writes the new keys and values into `generated`."""
        self._prefix, self._prompts, self._generated = prefix, prompts, generated
        self._layout = layout

    def attend(self, new: NewTokens) -> torch.Tensor:
        """See `AttentionState`."""
        return join([self._attend_row(new), self._attend_prompt(new), *self._prefix.attend(new)])

    def _attend_row(self, new: NewTokens) -> Part:
        """Write the new token behind the row's other generated tokens; attend to all of them."""
        layout, query, shared = self._layout, new.query, new.key.shape[1]
        for at, last in enumerate((new.key, new.value), 2 * new.layer):
            if self._generated[at].shape[2] < layout.width:
                self._generated[at] = pad(self._generated[at], (0, 0, 0, _GROWTH))
            states = self._generated[at]
            if layout.generated_mask is None:
                states[:, :, layout.width - 1] = last[:, :, 0]
            else:
                states[layout.rows, :, layout.lengths] = last[:, :, 0]
        generated = _of_layer(self._generated, new.layer)
        keys, values = (states[:, :, : layout.width] for states in generated)
        grouped = query.reshape(len(query), shared, -1, query.shape[-1])
        output, mass = attend(grouped, keys, values, scale=new.scale, mask=layout.generated_mask)
        return Part(output.reshape(query.shape), mass.reshape(query.shape[:3]))

    def _attend_prompt(self, new: NewTokens) -> Part:
        """Attend to the prompt: its draws, and the heads of a group, are rows of one product."""
        layout, query = self._layout, new.query
        keys, values = _of_layer(self._prompts, new.layer)
        shared, width = keys.shape[1], query.shape[-1]
        shape = (len(keys), layout.draws, shared, query.shape[1] // shared, width)
        if layout.full:
            stacked = query.reshape(shape)
        else:
            stacked = query.new_zeros(shape)
            stacked[layout.group, layout.place] = query.reshape(len(query), shared, -1, width)
        stacked = stacked.transpose(1, 2).reshape(len(keys), shared, -1, width)
        output, mass = attend(stacked, keys, values, scale=new.scale, mask=layout.prompt_mask)
        output = output.view(len(keys), shared, layout.draws, -1, width).transpose(1, 2)
        mass = mass.view(len(keys), shared, layout.draws, -1).transpose(1, 2)
        if not layout.full:
            output, mass = (part[layout.group, layout.place] for part in (output, mass))
        return Part(output.reshape(query.shape), mass.reshape(query.shape[:3]))


def _pad_right(
    sequences: Sequence[list[int]], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids padded on the right, shape (rows, longest), and their lengths."""
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    ids = torch.zeros((len(sequences), int(lengths.max())), dtype=torch.long)
    for at, sequence in enumerate(sequences):
        ids[at, : len(sequence)] = torch.tensor(sequence)
    return ids.to(device), lengths.to(device)


def _of_layer(states: list[torch.Tensor], layer: int) -> tuple[torch.Tensor, torch.Tensor]:
    return states[2 * layer], states[2 * layer + 1]


def _stack(old: list[torch.Tensor], new: list[torch.Tensor]) -> list[torch.Tensor]:
    """Append rows to each layer, padding the shorter ones."""
    if not old:
        return new
    stacked = []
    for both in zip(old, new, strict=True):
        width = max(states.shape[2] for states in both)
        stacked.append(torch.cat([pad(s, (0, 0, 0, width - s.shape[2])) for s in both]))
    return stacked


def _select(states: torch.Tensor, rows: torch.Tensor, width: int, *, room: int = 0) -> torch.Tensor:
    """Return some rows, `width` tokens of them, with room for more."""
    # Zeros, not uninitialised memory: an attention weight of zero does not undo a NaN.
    kept = states.new_zeros((len(rows), states.shape[1], width + room, states.shape[3]))
    kept[:, :, :width] = states[:, :, :width].index_select(0, rows)
    return kept
