"""Log-probabilities of labels on a CPU equal those of TRL's own function, and of the definition."""

from __future__ import annotations

import math

import pytest
import torch
from trl.kernels.chunked_logprob import ChunkedLogProbFunction

from training.trainers.log_probs import LabelLogProbs

OUTPUTS = ("log_probs", "entropy", "log_sum_sq_probs", "mean_logits", "is_top1")


def _given(labels: int = 37, width: int = 16, vocabulary: int = 300) -> tuple[torch.Tensor, ...]:
    random = torch.Generator().manual_seed(3)
    hidden = torch.randn(labels, width, generator=random).requires_grad_()
    weight = torch.randn(vocabulary, width, generator=random).requires_grad_()
    targets = torch.randint(vocabulary, (labels,), generator=random)
    return hidden, weight, targets


def _gradients(log_probs: torch.Tensor, *of: torch.Tensor) -> list[torch.Tensor]:
    # Each label's own factor, some of them 0, as DPO's loss gives its rows.
    factors = torch.linspace(-1, 1, len(log_probs))
    return list(torch.autograd.grad((factors * log_probs).sum(), of))


def test_two_tokens_by_hand() -> None:
    # Logits 0 and ln 3: probabilities 1/4 and 3/4. By the logits, log p(1) has the derivative
    # (0 - 1/4, 1 - 3/4); the states' gradient is that times the weights, 1/4·ln 3.
    weight = torch.tensor([[0.0], [math.log(3)]], requires_grad=True)
    hidden = torch.ones(1, 1, requires_grad=True)
    found = LabelLogProbs.apply(hidden, weight, torch.tensor([1]), OUTPUTS)
    assert found[0].detach().item() == pytest.approx(math.log(3 / 4))
    assert found[1].item() == pytest.approx(0.25 * math.log(4) + 0.75 * math.log(4 / 3))
    assert found[2].item() == pytest.approx(math.log(1 / 16 + 9 / 16))
    assert found[3].item() == pytest.approx(math.log(3) / 2)
    assert found[4].tolist() == [True]
    of_hidden, of_weight = _gradients_of_sum(found[0], hidden, weight)
    assert of_hidden.item() == pytest.approx(0.25 * math.log(3))
    assert of_weight[:, 0].tolist() == pytest.approx([-0.25, 0.25])


def _gradients_of_sum(log_probs: torch.Tensor, *of: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(log_probs.sum(), of))


def test_everything_equals_trls_own_function() -> None:
    hidden, weight, targets = _given()
    ours = LabelLogProbs.apply(hidden, weight, targets, OUTPUTS)
    # 128: TRL's tiles divide the vocabulary unevenly.
    theirs = ChunkedLogProbFunction.apply(
        hidden, weight, None, targets, 1.0, 128, None, 1.0, OUTPUTS
    )
    for one, other in zip(ours, theirs, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert torch.allclose(one.float(), other.float(), atol=1e-5)
    pairs = zip(
        _gradients(ours[0], hidden, weight), _gradients(theirs[0], hidden, weight), strict=True
    )
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in pairs)


def test_bfloat16_is_as_close_to_float32_as_trls() -> None:
    hidden, weight, targets = _given(labels=200, width=64, vocabulary=2000)
    exact = LabelLogProbs.apply(hidden, weight, targets, ("log_probs",))[0]
    expected = [exact.detach(), *_gradients(exact, hidden, weight)]
    errors = []
    for function, more in (
        (LabelLogProbs, (targets, ("log_probs",))),
        (ChunkedLogProbFunction, (None, targets, 1.0, 32768, None, 1.0, ("log_probs",))),
    ):
        with torch.autocast("cpu", torch.bfloat16):
            found = function.apply(hidden, weight, *more)[0]
        values = [found.detach(), *_gradients(found, hidden, weight)]
        assert all(value.dtype == torch.float32 for value in values)
        errors.append(
            [
                float((value - right).norm() / right.norm())
                for value, right in zip(values, expected, strict=True)
            ]
        )
    ours, theirs = errors
    assert all(one < 1.2 * other for one, other in zip(ours, theirs, strict=True))


def test_a_sure_label_keeps_its_small_gradient_in_bfloat16() -> None:
    # p = 1/(1 + e^-7) = 0.99909, which bfloat16 rounds to 1; the gradient is 1 - p = 9.1e-4.
    weight = torch.tensor([[7.0], [0.0]])
    hidden = torch.ones(1, 1, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        (found, *_) = LabelLogProbs.apply(hidden, weight, torch.tensor([0]), ("log_probs",))
    (gradient,) = torch.autograd.grad(found.sum(), [hidden])
    assert gradient.item() == pytest.approx(7 / (1 + math.exp(7)), rel=0.01)


def test_no_labels_give_no_log_probabilities_and_a_gradient_of_zero() -> None:
    hidden, weight, targets = _given()
    found = LabelLogProbs.apply(hidden[:0], weight, targets[:0], OUTPUTS)
    assert [len(one) for one in found if one is not None] == [0, 0, 0, 0, 0]
    assert float(_gradients_of_sum(found[0], weight)[0].abs().sum()) == 0
