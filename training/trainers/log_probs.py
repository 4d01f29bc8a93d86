"""TRL's log-probabilities of labels on a CPU: labelled positions only, and each product once.

TRL computes logits over the vocabulary in tiles, twice (its backward pass computes them again), and
multiplies gradients in float32 whatever the arithmetic. That saves memory where many tokens are
scored at once and time where a kernel fuses the steps, on GPUs. Here the logits of a micro-batch's
labels are kept instead, as the gradient that they will have. Measured in
docs/decisions/041-training-steps-on-a-cpu.md.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

# Rows of logits that are normalised together: their float32 copies stay in the processor's cache.
_ROWS = 16
# Above this, TRL's tiles are used: what is kept between the passes takes this much memory.
_MOST_KEPT_BYTES = 1 << 30


class Scored(NamedTuple):
    """What TRL wants of every label; those that it does not ask for are None."""

    log_probs: torch.Tensor
    entropy: torch.Tensor | None
    log_sum_sq_probs: torch.Tensor | None
    mean_logits: torch.Tensor | None
    is_top1: torch.Tensor | None


class LabelLogProbs(torch.autograd.Function):
    """Log-probabilities of labels, shape (labels,), float32, by one product over the vocabulary."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        labels: torch.Tensor,
        outputs: tuple[str, ...],
    ) -> Scored:
        """Score labels, shape (labels,), given hidden states, shape (labels, width).

        The derivative of a log-probability by the logits is 1 at the label less the probabilities.
        It takes the place of the logits, in their arithmetic, for the backward pass.
        """
        kind = _arithmetic(hidden)
        states, weights = hidden.to(kind), weight.to(kind)
        logits = states @ weights.t()
        log_probs = torch.empty(len(labels))
        entropy = torch.empty(len(labels)) if "entropy" in outputs else None
        is_top1 = torch.empty(len(labels), dtype=torch.bool) if "is_top1" in outputs else None
        sum_sq = torch.empty(len(labels)) if "log_sum_sq_probs" in outputs else None
        mean_logits = logits.mean(dim=-1, dtype=torch.float32) if "mean_logits" in outputs else None
        for start in range(0, len(labels), _ROWS):
            rows = slice(start, start + _ROWS)
            label = labels[rows, None]
            if is_top1 is not None:
                is_top1[rows] = logits[rows].argmax(dim=-1) == labels[rows]
            normalised = torch.log_softmax(logits[rows], dim=-1, dtype=torch.float32)
            log_probs[rows] = normalised.gather(1, label)[:, 0]
            if sum_sq is not None:
                sum_sq[rows] = (2 * normalised).logsumexp(dim=-1)
            probabilities = normalised.exp()
            if entropy is not None:
                entropy[rows] = -(probabilities * normalised).sum(dim=-1)
            derivative = probabilities.neg_()
            # Added in float32: near 1, bfloat16 would round a sure label's gradient to 0.
            derivative.scatter_add_(1, label, torch.ones_like(label, dtype=torch.float32))
            logits[rows] = derivative
        ctx.save_for_backward(states, weights, logits)
        ctx.kinds = hidden.dtype, weight.dtype
        metrics = (entropy, sum_sq, mean_logits, is_top1)
        ctx.mark_non_differentiable(*(one for one in metrics if one is not None))
        ctx.set_materialize_grads(False)
        return Scored(log_probs, entropy, sum_sq, mean_logits, is_top1)

    @staticmethod
    def backward(
        ctx: Any, gradient: torch.Tensor | None, *_: torch.Tensor | None
    ) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of hidden states and weights."""
        if gradient is None:
            return None, None, None, None
        states, weights, derivative = ctx.saved_tensors
        hidden_kind, weight_kind = ctx.kinds
        gradient = gradient[:, None]
        of_hidden = of_weight = None
        if ctx.needs_input_grad[0]:
            of_hidden = (derivative @ weights).to(hidden_kind) * gradient.to(hidden_kind)
        if ctx.needs_input_grad[1]:
            scaled = (states * gradient).to(states.dtype)
            of_weight = (derivative.t() @ scaled).to(weight_kind)
        return of_hidden, of_weight, None, None


def _arithmetic(hidden: torch.Tensor) -> torch.dtype:
    device = hidden.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype


class _OnCpu:
    """Stands in for TRL's function: `LabelLogProbs` where it gives the same, else TRL's own."""

    def __init__(self, own: Any) -> None:
        self._own = own

    def apply(self, *given: Any) -> Any:
        """Return the labels' log-probabilities and the other outputs; the arguments are TRL's."""
        hidden, weight, bias, labels, temperature, _, softcap, scale, outputs = given
        kept = len(labels) * len(weight) * _arithmetic(hidden).itemsize
        plain = bias is None and softcap is None and temperature == 1 and scale == 1
        if hidden.device.type == "cpu" and plain and kept <= _MOST_KEPT_BYTES:
            return LabelLogProbs.apply(hidden, weight, labels, outputs)
        return self._own.apply(*given)


def score_on_cpu() -> None:
    """Make TRL score labelled positions only, and by `LabelLogProbs`, on the CPU too.

    Off GPUs TRL computes logits at every position, prompt and padding included, because on some
    accelerators a changing number of positions triggers a recompilation. A CPU does not compile, so
    this only costs time. Loss and gradients are the same.
    """
    from trl.trainer import utils

    on_gpu, own = utils._use_triton, utils._ChunkedLogProbFunction  # noqa: SLF001 - no public setting decides this
    if isinstance(own, _OnCpu):
        return

    def compact(device: torch.device) -> bool:
        return device.type == "cpu" or bool(on_gpu(device))

    utils._use_triton = compact  # noqa: SLF001
    utils._ChunkedLogProbFunction = _OnCpu(own)  # noqa: SLF001
