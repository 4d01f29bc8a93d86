from __future__ import annotations

import torch

from engines.hf.sampling import _largest, nucleus_sample, uniforms


def draw(probabilities: list[float], uniform: float, *, top_p: float = 1.0) -> int:
    logits = torch.tensor([probabilities]).log()
    at = torch.tensor([uniform], dtype=torch.float64)
    return int(nucleus_sample(logits, at, temperature=1.0, top_p=top_p)[0])


def test_a_uniform_number_selects_by_the_cumulative_distribution_in_token_order() -> None:
    # Tokens 0..2 have mass .2, .5, .3: cumulative .2, .7, 1.
    assert draw([0.2, 0.5, 0.3], 0.1) == 0
    assert draw([0.2, 0.5, 0.3], 0.3) == 1
    assert draw([0.2, 0.5, 0.3], 0.69) == 1
    assert draw([0.2, 0.5, 0.3], 0.71) == 2
    assert draw([0.2, 0.5, 0.3], 0.9999999) == 2


def test_the_nucleus_is_the_smallest_set_that_reaches_top_p_and_is_renormalised() -> None:
    # top_p .7: token 1 (.5) is not enough, tokens 1 and 2 (.8) are. Renormalised: 1 has .625.
    assert draw([0.2, 0.5, 0.3], 0.01, top_p=0.7) == 1
    assert draw([0.2, 0.5, 0.3], 0.62, top_p=0.7) == 1
    assert draw([0.2, 0.5, 0.3], 0.63, top_p=0.7) == 2
    # top_p .49 is reached by token 1 alone.
    assert {draw([0.2, 0.5, 0.3], u / 10, top_p=0.49) for u in range(10)} == {1}


def test_temperature_zero_takes_the_most_probable_token() -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0], [5.0, 0.0, 0.0]])
    chosen = nucleus_sample(logits, torch.zeros(2), temperature=0, top_p=0.1)
    assert chosen.tolist() == [1, 0]


def test_each_row_has_its_own_temperature() -> None:
    # Odds 9:1. Row 0 is greedy; row 1 at temperature 1 keeps .9; row 2 at temperature 2 keeps .75.
    logits = torch.tensor([[1.0, 9.0], [9.0, 1.0], [9.0, 1.0]]).log()
    at = torch.tensor([0.01, 0.85, 0.85]).double()
    heat = torch.tensor([0.0, 1.0, 2.0])
    assert nucleus_sample(logits, at, temperature=heat, top_p=1.0).tolist() == [1, 0, 1]


def test_rows_whose_nuclei_differ_in_size_are_drawn_as_if_alone() -> None:
    # 10,000 tokens; nuclei of 1 token, of about 2,000 and of nearly all.
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 10_000, generator=generator) * torch.tensor([[30.0], [2.0], [0.1]])
    at = torch.tensor([0.9, 0.3, 0.6]).double()
    together = nucleus_sample(logits, at, temperature=1.0, top_p=0.95)
    for row in range(3):
        # The definition, by a full sort.
        mass, order = logits[row].double().softmax(-1).sort(descending=True)
        nucleus = order[: int((mass.cumsum(0) < 0.95).sum()) + 1].sort().values
        shares = logits[row].double().softmax(-1)[nucleus]
        place = int((shares.cumsum(0) <= at[row] * shares.sum()).sum())
        assert int(together[row]) == int(nucleus[place])


def test_the_largest_numbers_are_found_by_the_blocks_that_hold_them() -> None:
    generator = torch.Generator().manual_seed(1)
    # 10,001 numbers: 156 blocks of 64 and 17 more, the very last one the largest of its row; the
    # largest 64 of the second row lie in one block.
    scaled = torch.randn(3, 10_001, generator=generator)
    scaled[0, -1] = 100
    scaled[1, 640:704] += 50
    values, ids = _largest(scaled, 64)
    expected = scaled.topk(64, dim=-1)
    assert torch.equal(values, expected.values)
    assert torch.equal(ids, expected.indices)
    assert ids[0, 0] == 10_000 and sorted(ids[1].tolist()) == list(range(640, 704))


def test_many_rows_are_drawn_as_if_alone() -> None:
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(21, 10_000, generator=generator) * 3
    at = torch.rand(21, generator=generator).double()
    heat = torch.linspace(0, 2, 21)  # the first row is greedy
    together = nucleus_sample(logits, at, temperature=heat, top_p=0.9)
    alone = [
        nucleus_sample(logits[row][None], at[row][None], temperature=heat[row][None], top_p=0.9)
        for row in range(21)
    ]
    assert together.tolist() == [int(one) for one in alone]
    assert len(set(together.tolist())) > 10


def test_temperature_divides_the_logits() -> None:
    # Odds 9:1 at temperature 1 are sqrt(9):1 = 3:1 at temperature 2: token 0 keeps .75.
    logits = torch.tensor([[9.0, 1.0]]).log()
    below, above = torch.tensor([0.74]).double(), torch.tensor([0.76]).double()
    assert int(nucleus_sample(logits, below, temperature=2.0, top_p=1.0)[0]) == 0
    assert int(nucleus_sample(logits, above, temperature=2.0, top_p=1.0)[0]) == 1


def test_a_flat_distribution_wider_than_the_sorted_head_is_still_exact() -> None:
    # 1,000 equal tokens: the head of 256 holds only .256 of the mass, so all must be sorted.
    # The nucleus of .9 has 900 of them; the lowest and highest ids that come out span it.
    size = 1000
    logits = torch.zeros((size, size))
    uniform = torch.arange(size, dtype=torch.float64) / size
    chosen = nucleus_sample(logits, uniform, temperature=1.0, top_p=0.9)
    assert len(set(chosen.tolist())) == 900


def test_without_a_nucleus_the_last_of_the_mass_is_drawn_too() -> None:
    # Beside a mass of 1, e^-25 = 1.4e-11 is lost in float32 but not in the float64 sums.
    logits = torch.tensor([[0.0, -25.0]])
    at = torch.tensor([1 - 1e-13], dtype=torch.float64)
    assert int(nucleus_sample(logits, at, temperature=1.0, top_p=1.0)[0]) == 1


def test_frequencies_follow_the_distribution() -> None:
    probabilities = torch.tensor([0.1, 0.2, 0.3, 0.4])
    rows = 20_000
    uniform = uniforms([7], rows)[0]
    chosen = nucleus_sample(
        probabilities.log().expand(rows, 4), uniform, temperature=1.0, top_p=1.0
    )
    found = torch.bincount(chosen, minlength=4) / rows
    # Three standard errors of a share near .4 over 20,000 draws: .0104.
    assert torch.allclose(found, probabilities, atol=0.0104)


def test_random_numbers_of_a_row_do_not_depend_on_the_other_rows() -> None:
    together = uniforms([11, 22, 33], 5)
    assert torch.equal(uniforms([22], 5)[0], together[1])
    assert not torch.equal(together[0], together[1])
