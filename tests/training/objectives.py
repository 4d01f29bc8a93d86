"""Every objective, and its loss by hand: plain Python on the log-probabilities of single tokens."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from core.config import DpoSection
from engines.models import load_model, load_tokenizer, stop_ids
from engines.prompting import Prompter
from training.trainers.encoding import Encoder

if TYPE_CHECKING:
    from pathlib import Path

OBJECTIVES: dict[str, dict[str, Any]] = {
    "sigmoid": {"beta": 0.3},
    "sigmoid_norm": {"loss": "sigmoid_norm", "beta": 5.0},
    "ipo": {"loss": "ipo", "beta": 0.3},
    "robust": {"loss": "robust", "beta": 0.3, "label_smoothing": 0.1},
    "hinge": {"loss": "hinge", "beta": 0.3},
    "sppo_hard": {"loss": "sppo_hard", "beta": 0.05},
    "apo_zero": {"loss": "apo_zero", "beta": 0.3},
    "simpo": {"loss": "simpo", "beta": 2.5, "simpo_gamma": 1.375},
    "conservative": {"beta": 0.3, "label_smoothing": 0.2},
    "conservative_norm": {"loss": "sigmoid_norm", "beta": 5.0, "label_smoothing": 0.2},
    "iterative_rpo": {"beta": 0.3, "nll_weight": 1.5},
    "nll_over_a_square": {"loss": "ipo", "beta": 0.3, "nll_weight": 0.5},
    "ld_dpo": {"beta": 0.3, "ld_alpha": 0.5},
    "ld_nll": {"beta": 0.3, "ld_alpha": 0.0, "nll_weight": 1.0},
    "wpo": {"beta": 0.3, "weighting": "wpo"},
    "wpo_nll": {"beta": 0.3, "weighting": "wpo", "nll_weight": 1.0},
}


class Token(NamedTuple):
    """One response token: its log-probability, that of its reference, log Σ_v π(v)²."""

    policy: float
    reference: float
    squares: float


def tokens_of(policy: Path, reference: Path, prompt: str, response: str) -> list[Token]:
    """Return a response's tokens, the end of turn included: each read from the place before it."""
    tokenizer, model = load_tokenizer(policy), load_model(policy, torch.float32)
    encoder = Encoder(Prompter(tokenizer), stop_ids(model, tokenizer))
    item = encoder.encode(prompt, response, 256)
    assert item is not None
    with torch.inference_mode():
        own, other = (
            one(torch.tensor([item.input_ids])).logits[0].double().log_softmax(-1)
            for one in (model, load_model(reference, torch.float32))
        )
    return [
        Token(
            float(own[at - 1, item.input_ids[at]]),
            float(other[at - 1, item.input_ids[at]]),
            math.log(float(own[at - 1].exp().square().sum())),
        )
        for at in range(len(item.prompt_ids), len(item.input_ids))
    ]


def loss_by_hand(
    section: DpoSection, chosen: list[Token], rejected: list[Token], confidence: float | None = None
) -> float:
    """Return one pair's loss, from the formulas of the papers that docs/objectives.md names."""
    b, shared = section.beta, min(len(chosen), len(rejected))

    def h(tokens: list[Token]) -> float:
        return sum(
            (t.policy - t.reference) * (1 if at < shared else section.ld_alpha)
            for at, t in enumerate(tokens)
        )

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    def minus_log_sigmoid(x: float) -> float:
        return math.log1p(math.exp(-x))

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    won, lost = h(chosen), h(rejected)
    average_won, average_lost = won / len(chosen), lost / len(rejected)
    own_won, own_lost = mean([t.policy for t in chosen]), mean([t.policy for t in rejected])
    e = section.label_smoothing if confidence is None else 1 - confidence
    plain, turned = minus_log_sigmoid(b * (won - lost)), minus_log_sigmoid(b * (lost - won))
    loss = {
        "sigmoid": (1 - e) * plain + e * turned,
        "sigmoid_norm": (1 - e) * minus_log_sigmoid(b * (average_won - average_lost))
        + e * minus_log_sigmoid(b * (average_lost - average_won)),
        "ipo": (average_won - average_lost - 1 / (2 * b)) ** 2,
        "robust": ((1 - e) * plain - e * turned) / (1 - 2 * e),
        "hinge": max(0.0, 1 - b * (won - lost)),
        "sppo_hard": (won - 0.5 / b) ** 2 + (lost + 0.5 / b) ** 2,
        "apo_zero": 1 - sigmoid(b * won) + sigmoid(b * lost),
        "simpo": minus_log_sigmoid(b * (own_won - own_lost) - section.simpo_gamma),
    }[section.loss]
    if section.weighting == "wpo":
        for answer in (chosen, rejected):
            loss *= math.exp(mean([t.policy - t.squares for t in answer]))
    return loss - section.nll_weight * own_won
