"""Objectives of preference training: one loss per pair, so that pairs can be weighted or left out.

Notation: h = log π_θ/π_ref of an answer, summed over its tokens; Δ = h of the chosen less h of the
rejected answer; σ the logistic function; β = dpo.beta. docs/objectives.md has the formulas and
their sources; training/trainers/dpo.py has the trainer that calls this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.nn.functional import logsigmoid

from core.config import AVERAGED, DpoSection

if TYPE_CHECKING:
    from collections.abc import Callable


class Answers(NamedTuple):
    """One answer of each pair: log-probabilities of its tokens, summed; all of shape (pairs,).

    `policy` and `reference` may give tokens beyond the shorter answer less weight (`dpo.ld_alpha`);
    `likelihood` is the policy's without that. An empty answer has 0 of everything.
    """

    policy: torch.Tensor
    reference: torch.Tensor
    likelihood: torch.Tensor
    tokens: torch.Tensor

    @property
    def ratio(self) -> torch.Tensor:
        """Return h."""
        return self.policy - self.reference

    def mean(self, total: torch.Tensor) -> torch.Tensor:
        """Return a sum over the tokens as a mean."""
        return total / self.tokens.clamp(min=1.0)


class Pairs(NamedTuple):
    """A micro-batch. `confidence`: the probability that each pair's order is right, None for 1."""

    chosen: Answers
    rejected: Answers
    confidence: torch.Tensor | None = None


class Rewards(NamedTuple):
    """What an objective compares, β left out: h, or its mean over tokens; shape (pairs,)."""

    chosen: torch.Tensor
    rejected: torch.Tensor

    @property
    def margin(self) -> torch.Tensor:
        """Return Δ, or the difference of the means."""
        return self.chosen - self.rejected


def rewards(section: DpoSection, pairs: Pairs) -> Rewards:
    """Return h of both answers, divided by their lengths for the losses that average."""
    chosen, rejected = pairs.chosen, pairs.rejected
    if section.loss not in AVERAGED:
        return Rewards(chosen.ratio, rejected.ratio)
    return Rewards(chosen.mean(chosen.ratio), rejected.mean(rejected.ratio))


def losses(section: DpoSection, pairs: Pairs, weights: torch.Tensor | None = None) -> torch.Tensor:
    """Return each pair's loss, shape (pairs,).

    `weights` multiply the preference loss (WPO), not the chosen answer's likelihood.
    """
    reward = rewards(section, pairs)
    loss = _LOSSES[section.loss](section, reward)
    if section.loss != "robust":
        loss = _smoothed(section, reward, loss, pairs.confidence)
    if weights is not None:
        loss = loss * weights
    if section.nll_weight:
        loss = loss - section.nll_weight * pairs.chosen.mean(pairs.chosen.likelihood)
    return loss


def _smoothed(
    section: DpoSection, reward: Rewards, loss: torch.Tensor, confidence: torch.Tensor | None
) -> torch.Tensor:
    """Return c·L(Δ) + (1 − c)·L(−Δ): conservative DPO, with a c for each pair CREAM's loss."""
    if confidence is None:
        if not section.label_smoothing:
            return loss
        confidence = torch.full_like(loss, 1 - section.label_smoothing)
    reverse = _LOSSES[section.loss](section, Rewards(reward.rejected, reward.chosen))
    return confidence * loss + (1 - confidence) * reverse


def _sigmoid(section: DpoSection, reward: Rewards) -> torch.Tensor:
    return -logsigmoid(section.beta * reward.margin)


def _ipo(section: DpoSection, reward: Rewards) -> torch.Tensor:
    return (reward.margin - 1 / (2 * section.beta)) ** 2


def _robust(section: DpoSection, reward: Rewards) -> torch.Tensor:
    flipped = section.label_smoothing
    right, wrong = (
        -logsigmoid(section.beta * reward.margin),
        -logsigmoid(-section.beta * reward.margin),
    )
    return ((1 - flipped) * right - flipped * wrong) / (1 - 2 * flipped)


def _hinge(section: DpoSection, reward: Rewards) -> torch.Tensor:
    return torch.relu(1 - section.beta * reward.margin)


def _sppo_hard(section: DpoSection, reward: Rewards) -> torch.Tensor:
    target = 1 / (2 * section.beta)
    return (reward.chosen - target) ** 2 + (reward.rejected + target) ** 2


def _apo_zero(section: DpoSection, reward: Rewards) -> torch.Tensor:
    chosen, rejected = section.beta * reward.chosen, section.beta * reward.rejected
    return 1 - torch.sigmoid(chosen) + torch.sigmoid(rejected)


def _simpo(section: DpoSection, reward: Rewards) -> torch.Tensor:
    return -logsigmoid(section.beta * reward.margin - section.simpo_gamma)


_LOSSES: dict[str, Callable[[DpoSection, Rewards], torch.Tensor]] = {
    "sigmoid": _sigmoid,
    "sigmoid_norm": _sigmoid,
    "ipo": _ipo,
    "robust": _robust,
    "hinge": _hinge,
    "sppo_hard": _sppo_hard,
    "apo_zero": _apo_zero,
    "simpo": _simpo,
}


def token_weights(mask: torch.Tensor, tail: float) -> torch.Tensor:
    """Return LD-DPO's weight of each token: `tail` for those beyond the pair's shorter answer.

    Args:
        mask: 1 for response tokens, shape (2·pairs, tokens): chosen answers, then rejected ones.
        tail: `dpo.ld_alpha`.
    """
    place, lengths = mask.cumsum(dim=1), mask.sum(dim=1)
    shared = torch.minimum(*lengths.chunk(2)).repeat(2)
    return mask * torch.where(place > shared[:, None], tail, 1.0)


def wpo_weights(aligned: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return WPO's weight of each pair, shape (pairs,): how probable the policy finds both answers.

    exp of the mean over tokens of log π − log Σ_v π(v)², of both answers multiplied.

    Args:
        aligned: log π − log Σ_v π(v)² of each token, shape as of `mask`.
        mask: as of `token_weights`.
    """
    means = (aligned * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
    chosen, rejected = means.exp().chunk(2)
    return chosen * rejected
