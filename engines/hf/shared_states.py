"""What a batch of draws has read, kept once wherever draws share it.

Three levels of keys and values, joined by segments.py: the beginning that all prompts share
(a judge's rubric), the rest of each prompt (shared by its draws), and what each draw has said. New
draws can join at any step: each row has its own length and position.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import pad

from engines.hf.attention import run, tokens_at_once
from engines.hf.segments import Part, attend, join

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedModel

_GROWTH = 64  # tokens by which the room for new tokens grows


class SharedStates:
    """The states of the rows being decoded; `prefix` is what every prompt begins with."""

    joins = True
    """Rows may be admitted while others are being decoded."""

    def __init__(self, model: PreTrainedModel, prefix: Sequence[int] = ()) -> None:
        """Read the prefix."""
        self._model, self._device = model, model.device
        self._prefix = len(prefix)
        self._beginning = Beginning()
        self._prompts: list[_Keys] = []  # by layer; empty until something was read
        self._said: list[_Keys] = []
        self._prompt_lengths = torch.zeros(0, dtype=torch.long, device=self._device)
        self._said_lengths = torch.zeros(0, dtype=torch.long, device=self._device)
        self._group = torch.zeros(0, dtype=torch.long, device=self._device)  # row -> prompt
        if prefix:
            self._beginning.read(model, prefix)

    def admit(self, prompts: Sequence[list[int]], draws: Sequence[int]) -> torch.Tensor:
        """Read prompts and add `draws[i]` rows for prompt i; return the new rows' logits.

        The prompts begin with the prefix and have tokens of their own behind it.
        """
        logits = []
        start, at_once = 0, tokens_at_once(self._device)
        while start < len(prompts):
            width = len(prompts[start]) - self._prefix
            count = max(1, at_once // width)
            some = [prompt[self._prefix :] for prompt in prompts[start : start + count]]
            logits.append(self._read(some, draws[start : start + count]))
            start += count
        return torch.cat(logits)

    def _read(self, prompts: list[list[int]], draws: Sequence[int]) -> torch.Tensor:
        ids, lengths = _pad_right(prompts, self._device)
        positions = torch.arange(self._prefix, self._prefix + ids.shape[1], device=self._device)
        reading = _Reading(self._beginning)
        hidden = run(self._model, ids, positions.expand_as(ids), reading)
        last = hidden[torch.arange(len(prompts), device=self._device), lengths - 1]
        logits: torch.Tensor = self._model.get_output_embeddings()(last)
        copies = torch.tensor(draws, device=self._device)
        rows = sum(draws)
        group = torch.arange(len(prompts), device=self._device) + len(self._prompt_lengths)
        self._group = torch.cat([self._group, group.repeat_interleave(copies)])
        self._prompt_lengths = torch.cat([self._prompt_lengths, lengths])
        self._said_lengths = torch.cat([self._said_lengths, lengths.new_zeros(rows)])
        nothing = [_of_no_width(keys, rows) for keys in reading.fresh]
        self._prompts = _stack(self._prompts, reading.fresh)
        self._said = _stack(self._said, nothing)
        return logits.repeat_interleave(copies, dim=0)

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Append one token to every row, shape (rows,); return the next logits."""
        positions = self._prefix + self._prompt_lengths[self._group] + self._said_lengths
        saying = _Saying(
            self._beginning,
            self._prompts,
            self._said,
            _Layout(self._group, self._prompt_lengths, self._said_lengths, self._model.dtype),
        )
        hidden = run(self._model, tokens[:, None], positions[:, None], saying)
        self._said_lengths = self._said_lengths + 1
        logits: torch.Tensor = self._model.get_output_embeddings()(hidden[:, -1])
        return logits

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these, and prompts without rows."""
        kept = torch.tensor(rows, dtype=torch.long, device=self._device)
        groups, group = self._group[kept].unique(return_inverse=True)
        longest = int(self._said_lengths[kept].max()) if len(rows) else 0
        self._said = [_select(keys, kept, longest, room=_GROWTH) for keys in self._said]
        if len(groups) < len(self._prompt_lengths):
            longest = int(self._prompt_lengths[groups].max()) if len(rows) else 0
            self._prompts = [_select(keys, groups, longest) for keys in self._prompts]
            self._prompt_lengths = self._prompt_lengths[groups]
        self._group, self._said_lengths = group, self._said_lengths[kept]


_Keys = tuple[torch.Tensor, torch.Tensor]


class Beginning:
    """Keys and values of tokens that every row begins with, by layer; none until `read`."""

    def __init__(self) -> None:
        """Hold nothing."""
        self._keys: list[_Keys] = []

    def read(self, model: PreTrainedModel, tokens: Sequence[int]) -> None:
        """Run the tokens through the model and keep what its layers make of them."""
        ids = torch.tensor([list(tokens)], device=model.device)
        reading = _Reading(self)
        run(model, ids, torch.arange(len(tokens), device=model.device)[None], reading)
        self._keys = reading.fresh

    def seen_by(self, layer: int, query: torch.Tensor, scale: float) -> list[Part]:
        """Return what every query sees of the beginning: one part, or none without a beginning.

        All rows' queries, and the heads that share a key head, are rows of one product.
        """
        if not self._keys:
            return []
        kept = self._keys[layer]
        rows, heads, tokens, width = query.shape
        shared = kept[0].shape[1]
        stacked = (
            query.reshape(rows, shared, -1, width).transpose(0, 1).reshape(1, shared, -1, width)
        )
        output, mass = attend(stacked, *kept, scale=scale)
        output = output.view(shared, rows, -1, width).transpose(0, 1)
        mass = mass.view(shared, rows, -1).transpose(0, 1)
        return [
            Part(
                output.reshape(rows, heads, tokens, width),
                mass.reshape(rows, heads, tokens),
            )
        ]


class _Reading:
    """Prompt tokens, padded on the right: they see the beginning and what stands before them."""

    def __init__(self, beginning: Beginning) -> None:
        self._beginning = beginning
        self.fresh: list[_Keys] = []

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        """See `Pass`."""
        self.fresh.append((key, value))
        own = attend(query, key, value, scale=scale, causal=True)
        return join([own, *self._beginning.seen_by(layer, query, scale)])


class _Layout:
    """Where rows stand in the tensors of a step; the same for all layers."""

    def __init__(
        self,
        group: torch.Tensor,
        prompt_lengths: torch.Tensor,
        said_lengths: torch.Tensor,
        dtype: torch.dtype,
    ) -> None:
        counts = torch.bincount(group, minlength=len(prompt_lengths))
        first = counts.cumsum(0) - counts  # rows of a prompt stand together
        self.group = group
        self.rows = torch.arange(len(group), device=group.device)
        self.place = self.rows - first[group]
        self.draws = int(counts.max())
        self.prompt_mask = _hide_beyond(prompt_lengths, dtype)
        self.lengths = said_lengths
        self.width = int(said_lengths.max()) + 1
        even = bool((said_lengths == said_lengths[0]).all())
        self.said_mask = None if even else _hide_beyond(said_lengths + 1, dtype)


def _hide_beyond(lengths: torch.Tensor, dtype: torch.dtype) -> torch.Tensor | None:
    """Return what to add to scores, shape (rows, 1, 1, longest); None if all are equally long."""
    longest = int(lengths.max())
    hidden = torch.arange(longest, device=lengths.device) >= lengths[:, None]
    if not bool(hidden.any()):
        return None
    mask = torch.zeros(hidden.shape, dtype=dtype, device=lengths.device)
    return mask.masked_fill(hidden, float("-inf"))[:, None, None]


class _Saying:
    """One new token per row: it sees the beginning, its prompt, and what its row has said."""

    def __init__(
        self, beginning: Beginning, prompts: list[_Keys], said: list[_Keys], layout: _Layout
    ) -> None:
        self._beginning, self._prompts, self._said = beginning, prompts, said
        self._layout = layout

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        """See `Pass`."""
        parts = [
            self._own(layer, query, key, value, scale),
            self._prompt(layer, query, scale),
            *self._beginning.seen_by(layer, query, scale),
        ]
        return join(parts)

    def _own(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scale: float,
    ) -> Part:
        """Write the new token behind the row's others; see them all."""
        layout, shared = self._layout, key.shape[1]
        said = _with_room(self._said[layer], layout.width)
        self._said[layer] = said
        for states, new in zip(said, (key, value), strict=True):
            if layout.said_mask is None:
                states[:, :, layout.width - 1] = new[:, :, 0]
            else:
                states[layout.rows, :, layout.lengths] = new[:, :, 0]
        keys, values = (states[:, :, : layout.width] for states in said)
        grouped = query.reshape(len(query), shared, -1, query.shape[-1])
        output, mass = attend(grouped, keys, values, scale=scale, mask=layout.said_mask)
        return Part(output.reshape(query.shape), mass.reshape(query.shape[:3]))

    def _prompt(self, layer: int, query: torch.Tensor, scale: float) -> Part:
        """See the prompt: the draws of one prompt, and the heads of a group, are rows together."""
        layout = self._layout
        keys, values = self._prompts[layer]
        shared, width = keys.shape[1], query.shape[-1]
        stacked = query.new_zeros(
            (len(keys), layout.draws, shared, query.shape[1] // shared, width)
        )
        stacked[layout.group, layout.place] = query.reshape(len(query), shared, -1, width)
        stacked = stacked.transpose(1, 2).reshape(len(keys), shared, -1, width)
        output, mass = attend(stacked, keys, values, scale=scale, mask=layout.prompt_mask)
        output = output.view(len(keys), shared, layout.draws, -1, width)
        mass = mass.view(len(keys), shared, layout.draws, -1)
        output = output.transpose(1, 2)[layout.group, layout.place]
        mass = mass.transpose(1, 2)[layout.group, layout.place]
        return Part(output.reshape(query.shape), mass.reshape(query.shape[:3]))


def _pad_right(
    sequences: Sequence[list[int]], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids, shape (rows, longest), and lengths. Padding comes last: nobody sees it."""
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    ids = torch.zeros((len(sequences), int(lengths.max())), dtype=torch.long)
    for at, sequence in enumerate(sequences):
        ids[at, : len(sequence)] = torch.tensor(sequence)
    return ids.to(device), lengths.to(device)


def _of_no_width(keys: _Keys, rows: int) -> _Keys:
    """Return the states of rows that have said nothing yet."""
    none = keys[0].new_zeros((rows, keys[0].shape[1], 0, keys[0].shape[3]))
    return none, none


def _stack(old: list[_Keys], new: list[_Keys]) -> list[_Keys]:
    """Put the rows of each layer below those that are there, padding the shorter ones."""
    return [_below(*both) for both in zip(old, new, strict=True)] if old else new


def _below(old: _Keys, new: _Keys) -> _Keys:
    width = max(old[0].shape[2], new[0].shape[2])
    keys, values = (
        torch.cat([pad(states, (0, 0, 0, width - states.shape[2])) for states in both])
        for both in zip(old, new, strict=True)
    )
    return keys, values


def _select(keys: _Keys, rows: torch.Tensor, width: int, *, room: int = 0) -> _Keys:
    """Return some rows, `width` tokens of them, with room for more."""
    selected = []
    for states in keys:
        # Zeros, not whatever lies there: a weight of zero does not undo a NaN.
        kept = states.new_zeros((len(rows), states.shape[1], width + room, states.shape[3]))
        kept[:, :, :width] = states[:, :, :width].index_select(0, rows)
        selected.append(kept)
    return selected[0], selected[1]


def _with_room(keys: _Keys, width: int) -> _Keys:
    """Return the states with room for `width` tokens."""
    if keys[0].shape[2] >= width:
        return keys
    grown, values = (pad(states, (0, 0, 0, _GROWTH)) for states in keys)
    return grown, values
