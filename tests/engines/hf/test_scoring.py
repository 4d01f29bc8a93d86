from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PretrainedConfig

from core.errors import ModelError
from engines.engine import Logprob
from engines.hf.attention import SEGMENTED
from engines.hf.scoring import score_pairs
from engines.hf.shared_states import common_prefix
from engines.models import has_plain_attention, load_model
from engines.prompting import Pair

WINDOW = 4096


@pytest.fixture(scope="module")
def model(tiny: Path) -> Any:
    return load_model(tiny, torch.float32, attn_implementation=SEGMENTED)


def tokens(length: int, seed: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    found: list[int] = torch.randint(5, 300, (length,), generator=generator).tolist()
    return found


def direct(model: Any, pair: Pair) -> Logprob:
    """One sequence through the whole model, no cache, mask or batch."""
    whole = [*pair.context, *pair.target]
    with torch.inference_mode():
        logps = model(torch.tensor([whole])).logits[0].log_softmax(-1)
    # The token at place t is predicted at place t - 1.
    places = range(len(pair.context), len(whole))
    total = sum(float(logps[t - 1, whole[t]]) for t in places)
    return Logprob(total, len(pair.target), all(logps[t - 1].argmax() == whole[t] for t in places))


def score(model: Any, pairs: list[Pair], window: int = WINDOW) -> list[Logprob]:
    with torch.inference_mode():
        return score_pairs(model, pairs, window=window, cache_tokens=32768)


def check(model: Any, pairs: list[Pair]) -> None:
    for pair, found in zip(pairs, score(model, pairs), strict=True):
        expected = direct(model, pair)
        assert found.total == pytest.approx(expected.total, abs=1e-5 * max(1, len(pair.target)))
        assert found[1:] == expected[1:]


def question(context: list[int], *lengths: int, seed: int = 0) -> list[Pair]:
    return [Pair(context, tokens(length, seed + at)) for at, length in enumerate(lengths)]


def test_choices_that_share_a_context_score_as_if_alone(model: Any) -> None:
    check(model, question(tokens(20, 1), 3, 7, 1, 5))


def test_questions_of_different_length_do_not_disturb_each_other(model: Any) -> None:
    check(model, [p for n in (3, 40, 17, 1) for p in question(tokens(n, n), 4, 1, 9, seed=n)])


def test_a_few_shot_header_run_once_changes_nothing(model: Any) -> None:
    header = tokens(200, 7)
    pairs = [p for n in (5, 1, 30) for p in question(header + tokens(n, n), 1, 1, 6, seed=n)]
    other = [p for n in (8, 9) for p in question(tokens(90, 8) + tokens(n, n), 2, 3, seed=n)]
    check(model, pairs + other + question(tokens(4, 9), 2))


def test_a_header_is_run_once_and_one_token_choices_need_one_row(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 3 questions of a 200-token header, 10 tokens each, 4 choices of one token: 200 + 3 x 10.
    read: list[int] = []
    forward = model.base_model.forward

    def counted(*args: Any, **kwargs: Any) -> Any:
        read.append(kwargs["input_ids"].numel())
        return forward(*args, **kwargs)

    monkeypatch.setattr(model.base_model, "forward", counted)
    header = tokens(200, 7)
    score(model, [p for n in range(3) for p in question(header + tokens(10, n), 1, 1, 1, 1)])
    assert read == [200, 30]


def test_logits_exist_only_where_they_are_asked_for_and_never_all_at_once(model: Any) -> None:
    # Two questions of 600-token continuations: 1,200 places at most, in portions of 256.
    rows: list[int] = []
    head = model.get_output_embeddings()
    hook = head.register_forward_hook(lambda module, seen, out: rows.append(out.shape[0]))
    try:
        score(model, question(tokens(50, 1), 600) + question(tokens(60, 2), 600))
        assert max(rows) == 256
        assert sum(rows) == 1200
        rows.clear()
        score(model, question(tokens(50, 1), 1, 1, 1, 1))  # one place for all four
        assert rows == [1]
    finally:
        hook.remove()


def test_the_same_continuation_asked_twice_is_answered_twice(model: Any) -> None:
    pair = Pair(tokens(10, 1), tokens(4, 2))
    first, second = score(model, [pair, pair])
    assert first.total == pytest.approx(direct(model, pair).total, abs=1e-4)
    assert second == pytest.approx(first)


def test_a_greedy_continuation_is_known_as_such(model: Any) -> None:
    context = tokens(12, 3)
    said: list[int] = []
    for _ in range(3):
        with torch.inference_mode():
            said.append(int(model(torch.tensor([context + said])).logits[0, -1].argmax()))
    other = [*said[:2], said[2] + 1]
    pairs = [Pair(context, said), Pair(context, other), Pair(context, said[:1])]
    assert [found.greedy for found in score(model, pairs)] == [True, False, True]


def test_nothing_to_score_is_certain(model: Any) -> None:
    assert score(model, [Pair(tokens(5, 1), [])]) == [Logprob(0.0, 0, True)]
    assert score(model, []) == []


def test_a_context_too_long_loses_its_beginning_as_in_lm_eval(model: Any) -> None:
    # Window 16, 4 tokens to predict, the last of which is not read: 13 of the context fit.
    context, target = tokens(30, 4), tokens(4, 5)
    (found,) = score(model, [Pair(context, target)], window=16)
    assert found.total == pytest.approx(direct(model, Pair(context[-13:], target)).total, abs=1e-4)
    (whole,) = score(model, [Pair(context[-13:], target)], window=16)
    assert whole.total == pytest.approx(found.total, abs=1e-6)


def test_a_continuation_longer_than_the_window_is_refused(model: Any) -> None:
    with pytest.raises(ModelError, match=r"continuation of 17 tokens .* window holds 16"):
        score(model, [Pair(tokens(3, 1), tokens(17, 2))], window=16)


def test_many_continuations_of_one_context_are_cut_into_several_rows(model: Any) -> None:
    check(model, question(tokens(20, 1), *[900] * 6))


def test_a_model_whose_attention_is_not_known_is_scored_one_request_at_a_time(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = question(tokens(100, 1), 3, 1) + question(tokens(70, 2), 5, 0)
    monkeypatch.setattr("engines.hf.scoring.can_share", lambda model: False)
    check(model, pairs)


def test_only_full_attention_with_plain_rotary_positions_and_logits_may_share() -> None:
    def config(**changes: Any) -> PretrainedConfig:
        plain = PretrainedConfig()
        plain.rope_parameters = {"rope_type": "default", "rope_theta": 10000.0}
        for name, value in changes.items():
            setattr(plain, name, value)
        return plain

    assert has_plain_attention(config())
    assert has_plain_attention(config(layer_types=["full_attention"] * 2, sliding_window=None))
    assert not has_plain_attention(config(sliding_window=4096))
    assert not has_plain_attention(config(layer_types=["full_attention", "sliding_attention"]))
    assert not has_plain_attention(config(rope_parameters={"rope_type": "dynamic"}))
    assert not has_plain_attention(config(rope_parameters=None))
    assert not has_plain_attention(config(final_logit_softcapping=30.0))
    assert not has_plain_attention(config(logits_scaling=8.0))


def test_a_common_beginning_leaves_each_prompt_a_token_of_its_own() -> None:
    header = list(range(100))
    assert common_prefix([[*header, 1], [*header, 2]]) == 100
    assert common_prefix([header, header]) == 99
    assert common_prefix([header, [*header, 1]]) == 99
    assert common_prefix([[*header[:31], 7], [*header[:31], 8]]) == 0  # too short to be worth it
    assert common_prefix([header]) == 0
    assert common_prefix([]) == 0
