"""Batches run without padding give what the model gives with it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import dropout as drop

from engines.models import load_model
from training.trainers.packed import PACKED, RowAttention, pack_rows


def _batch(model: Any, lengths: tuple[int, ...]) -> dict[str, torch.Tensor]:
    ids = torch.randint(5, 200, (len(lengths), max(lengths)))
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    return {"input_ids": ids, "attention_mask": mask}


def _hidden_and_gradients(model: Any, batch: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    model.zero_grad()
    hidden = model.base_model(**batch, use_cache=False).last_hidden_state
    shown = hidden[batch["attention_mask"].bool()]
    # Different factors for each place, so that exchanged rows or tokens would be noticed.
    (shown * torch.linspace(-1, 1, shown.numel()).view_as(shown)).sum().backward()
    return [shown.detach(), *(w.grad.clone() for w in model.base_model.parameters())]


# 300: longer than what is computed by products.
@pytest.mark.parametrize("lengths", [(5, 30, 1), (300, 7), (4, 4)])
def test_packed_rows_give_the_states_and_gradients_of_padded_ones(
    tiny: Path, lengths: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    model = load_model(tiny, torch.float32)
    packed = copy.deepcopy(model)
    assert pack_rows(packed)
    batch = _batch(model, lengths)
    pairs = zip(
        _hidden_and_gradients(packed, batch), _hidden_and_gradients(model, batch), strict=True
    )
    for ours, theirs in pairs:
        assert torch.allclose(ours, theirs, atol=1e-5 * max(1.0, float(theirs.abs().max())))


def test_the_layers_see_no_padding(tiny: Path) -> None:
    model = load_model(tiny, torch.float32)
    assert pack_rows(model)
    seen = []
    layer = model.base_model.layers[0].mlp
    layer.register_forward_hook(lambda _, given, __: seen.append(tuple(given[0].shape[:2])))
    batch = _batch(model, (30, 2, 5))
    output = model.base_model(**batch, use_cache=False).last_hidden_state.detach()
    assert seen == [(1, 37)]
    assert output.shape[:2] == (3, 30)
    assert float(output[1, 2:].abs().sum()) == 0


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_attention_has_the_gradients_of_its_definition(dropout: float) -> None:
    random = torch.Generator().manual_seed(1)
    given = [
        torch.randn(shape, generator=random, dtype=torch.double).requires_grad_()
        for shape in ((2, 3, 9, 4), (2, 9, 4), (2, 9, 4))
    ]

    def defined(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        scores = query.reshape(2, 27, 4) @ key.transpose(1, 2)
        ahead = torch.ones(9, 9, dtype=torch.bool).triu(1).repeat(3, 1)
        weights = scores.masked_fill(ahead, float("-inf")).softmax(dim=-1).float()
        return (drop(weights, dropout).double() @ value).view_as(query)

    found = []
    for attention in (defined, lambda *states: RowAttention.apply(*states, dropout)):
        torch.manual_seed(2)  # the same keys are dropped
        output = attention(*given)
        factors = torch.linspace(-1, 1, output.numel()).view_as(output)
        found.append([output, *torch.autograd.grad((factors * output).sum(), given)])
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(*found, strict=True))


def test_dropout_leaves_out_keys_and_keeps_the_mean() -> None:
    value = torch.ones(1, 200, 4)
    query, key = torch.zeros(1, 1, 200, 4), torch.zeros(1, 200, 4)
    torch.manual_seed(0)
    # The last query attends to 200 keys, 1/200 each: what is kept, half of it, counts twice.
    outputs = [float(RowAttention.apply(query, key, value, 0.5)[0, 0, -1, 0]) for _ in range(50)]
    assert len(set(outputs)) > 10
    assert sum(outputs) / 50 == pytest.approx(1, abs=0.03)


def test_a_saved_model_says_nothing_of_how_it_was_trained(tiny: Path, tmp_path: Path) -> None:
    model = load_model(tiny, torch.float32)
    assert pack_rows(model)
    model.save_pretrained(tmp_path)
    assert PACKED not in (tmp_path / "config.json").read_text()


def test_a_model_whose_attention_is_not_plain_is_left_as_it_is(tiny: Path) -> None:
    model = load_model(tiny, torch.float32)
    model.config.sliding_window = 4
    assert not pack_rows(model)
    assert model.config._attn_implementation == "sdpa"
    assert "forward" not in vars(model.base_model)
