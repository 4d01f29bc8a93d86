from __future__ import annotations

from types import SimpleNamespace

import pytest

from benchmarks.machine import Machine
from benchmarks.model_cost import Cost, Shape, sampling_cost, scoring_cost

# 1 layer, width 2, 10 parameters, output matrix of 5, 4 numbers cached for each token.
SHAPE = Shape(layers=1, hidden=2, body=10, head=5, cached=4)
# One token costs 2·10 = 20 in the layers and 4·1·2 = 8 for each token it attends to; one output
# 2·5 = 10. Reading all weights: 4·15 = 60 bytes.


def test_smollm2_has_the_published_number_of_parameters() -> None:
    config = SimpleNamespace(
        head_dim=64, num_attention_heads=9, num_key_value_heads=3, hidden_size=576,
        intermediate_size=1536, num_hidden_layers=30, vocab_size=49152,
    )  # fmt: skip
    shape = Shape.of(config)
    # 134,515,008 in all: besides these the 61 norms of 576.
    assert shape.body + shape.head + 61 * 576 == 134_515_008
    assert shape.cached == 2 * 30 * 3 * 64


def test_a_lone_text_costs_each_of_its_tokens_but_the_last() -> None:
    # Context 3 tokens, target 1: the last token is predicted, not read. 3·20 + 8·(1+2+3) + 10.
    assert scoring_cost(SHAPE, [([1, 2, 3], [4])]) == Cost(118.0, 60)


def test_a_shared_context_is_computed_once() -> None:
    # Two targets of two tokens after one context: tree of 1, 2, and then 4 or 5; two outputs each.
    # 4·20 + 8·(1+2+3+3) + 4·10.
    pairs = [([1, 2], [4, 6]), ([1, 2], [5, 6])]
    assert scoring_cost(SHAPE, pairs).flop == 80 + 72 + 40


def test_the_order_of_texts_does_not_matter() -> None:
    pairs = [([1, 2], [4, 6]), ([3, 2], [5, 6]), ([1, 2], [5, 6])]
    assert scoring_cost(SHAPE, pairs) == scoring_cost(SHAPE, pairs[::-1])


def test_draws_share_a_prompts_pass_and_steps_read_the_weights_once() -> None:
    # One prompt of 2 tokens, 3 draws of 3 tokens. The prompt: 2·20 + 8·(1+2) + 10 = 74; its pass
    # gives the first token. Then 2 steps of 3 rows: tokens at width 3 and 4.
    cost = sampling_cost(SHAPE, [[1, 2]], draws=3, new_tokens=3, rows=32)
    assert cost.flop == 74 + 3 * (2 * 30 + 8 * (3 + 4))
    # Weights for the prompt and 2 steps; each row reads the cache of 2, then 3 tokens, 16 bytes.
    assert cost.bytes == 60 + 2 * 60 + 3 * 16 * (2 + 3)


def test_rows_that_do_not_fit_together_read_the_weights_again() -> None:
    together = sampling_cost(SHAPE, [[1, 2]], draws=3, new_tokens=3, rows=3)
    apart = sampling_cost(SHAPE, [[1, 2]], draws=3, new_tokens=3, rows=2)
    assert apart.bytes - together.bytes == 2 * 60
    assert apart.flop == together.flop


def test_shares_are_of_what_the_machine_does_in_that_time() -> None:
    machine = Machine("cpu", 2, 2, "2.13", gflops=100.0, gbytes_s=10.0, date="")
    # 50 GFLOP in 2 s on 100 GFLOP/s: a quarter. 4 GB in 2 s at 10 GB/s: a fifth.
    assert Cost(50e9, 4e9).shares(2.0, machine) == {
        "share_of_arithmetic": pytest.approx(0.25),
        "share_of_memory": pytest.approx(0.2),
    }
