from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from engines.hf import segments
from engines.hf.segments import Part, attend, attend_by_products, join


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def stock(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """torch's own attention, key heads repeated by hand."""
    groups = query.shape[1] // key.shape[1]
    key, value = (states.repeat_interleave(groups, 1) for states in (key, value))
    return torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, scale=0.3
    )


def test_two_keys_derived_by_hand() -> None:
    # Scores ln 3 and 0, so weights 3/4 and 1/4: 3/4 · 8 + 1/4 · 4 = 7; the mass is ln(3 + 1).
    query, key = torch.tensor([[[[1.0]]]]), torch.tensor([[[[math.log(3)], [0.0]]]])
    value = torch.tensor([[[[8.0], [4.0]]]])
    for how in (attend, attend_by_products):
        output, mass = how(query, key, value, scale=1.0)
        assert output.item() == pytest.approx(7)
        assert mass.item() == pytest.approx(math.log(4))


def test_parts_joined_by_hand() -> None:
    # Masses ln 3 and ln 1: three quarters of 8 and one quarter of 4.
    parts = [
        Part(torch.tensor([[[[8.0]]]]), torch.tensor([[[math.log(3)]]])),
        Part(torch.tensor([[[[4.0]]]]), torch.tensor([[[0.0]]])),
    ]
    assert join(parts).item() == pytest.approx(7)
    assert join(parts[:1]).item() == 8


def test_keys_in_three_places_are_one_set_of_keys() -> None:
    query = random(2, 6, 5, 8)
    keys, values = random(2, 3, 11, 8, seed=1), random(2, 3, 11, 8, seed=2)
    cuts = (slice(0, 4), slice(4, 5), slice(5, 11))
    parts = [attend(query, keys[:, :, cut], values[:, :, cut], scale=0.3) for cut in cuts]
    assert torch.allclose(join(parts), stock(query, keys, values), atol=1e-6)


@pytest.mark.parametrize("how", [attend, attend_by_products])
def test_masked_and_later_keys_are_not_seen(how: object) -> None:
    assert callable(how)
    query = random(2, 6, 5, 8)
    key, value = random(2, 3, 5, 8, seed=1), random(2, 3, 5, 8, seed=2)
    ahead = torch.ones(5, 5, dtype=torch.bool).triu(1)
    mask = torch.zeros(5, 5).masked_fill(ahead, float("-inf"))
    expected = stock(query, key, value, mask)
    assert torch.allclose(
        how(query, key, value, scale=0.3, causal=True).output, expected, atol=1e-6
    )
    masked = how(query, key, value, scale=0.3, mask=mask[None, None])
    assert torch.allclose(masked.output, expected, atol=1e-6)


@pytest.mark.parametrize("size", [1, 120, 180])  # queries at once: 1, 2 (and 1 left), 3 (and 2)
@pytest.mark.parametrize("masked", ["causal", "mask", "mask of keys", "open"])
def test_blocks_of_queries_give_what_all_at_once_give(
    size: int, masked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    query, key = random(2, 6, 5, 8), random(2, 3, 5, 8, seed=1)
    given: dict[str, Any] = {"causal": True} if masked == "causal" else {}
    if masked.startswith("mask"):
        shape = (2, 1, 1, 5) if masked == "mask of keys" else (2, 1, 5, 5)
        hidden = random(*shape, seed=2) > 0
        hidden[..., 0] = False
        given["mask"] = torch.zeros(shape).masked_fill(hidden, float("-inf"))
    whole = attend(query, key, key, scale=0.3, **given)
    monkeypatch.setattr(segments, "_SCORES", size)
    found = attend_by_products(query, key, key, scale=0.3, **given)
    assert torch.allclose(found.output, whole.output, atol=1e-6)
    assert torch.allclose(found.mass, whole.mass, atol=1e-6)


class Largest(TorchDispatchMode):
    """Notes the largest tensor that is made, in numbers."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            self.numbers = max(self.numbers, made.numel())
        return made


def test_scores_of_a_long_prompt_on_a_gpu_do_not_exist_all_at_once() -> None:
    # Tensors without content, on a device that is no CPU: 32 heads x 8,192 x 8,192 are 2^31 scores.
    query = torch.empty(1, 32, 8192, 128, device="meta", dtype=torch.bfloat16)
    key = torch.empty(1, 8, 8192, 128, device="meta", dtype=torch.bfloat16)
    with Largest() as largest:
        output, mass = attend(query, key, key, scale=0.1, causal=True)
    assert (output.shape, mass.shape) == (query.shape, query.shape[:3])
    assert largest.numbers <= 2**26


def test_both_ways_agree_on_the_mass() -> None:
    query, key, value = random(2, 6, 5, 8), random(2, 3, 7, 8, seed=1), random(2, 3, 7, 8, seed=2)
    one, other = (how(query, key, value, scale=0.3) for how in (attend, attend_by_products))
    assert torch.allclose(one.output, other.output, atol=1e-6)
    assert torch.allclose(one.mass, other.mass, atol=1e-6)


def test_a_part_in_bfloat16_is_joined_without_losing_its_mass() -> None:
    query, key = random(1, 2, 3, 8).bfloat16(), random(1, 2, 9, 8, seed=1).bfloat16()
    whole = attend(query, key, key, scale=0.3)
    parts = [attend(query, key[:, :, cut], key[:, :, cut], scale=0.3)
             for cut in (slice(0, 2), slice(2, 9))]  # fmt: skip
    joined = join(parts)
    assert joined.dtype == torch.bfloat16
    assert all(part.mass.dtype == torch.float32 for part in parts)
    assert torch.allclose(joined.float(), whole.output.float(), atol=2e-2)
