from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from trl import DPOTrainer

from core.config import DpoSection
from core.records import LedgerRow
from tests.training.making import steps
from tests.training.objectives import OBJECTIVES, loss_by_hand, tokens_of
from training.trainers.dpo import encode_pairs, train_dpo
from training.trainers.job import TrainingJob
from training.trainers.objectives import Answers, Pairs, losses, token_weights, wpo_weights

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SHARED: dict[str, Any] = {
    "lr": 1e-3,
    "batch_size": 2,
    "micro_batch_size": 2,
    "max_steps": 1,
    "dropout": 0.0,
    "precision": "fp32",
    "max_length": 256,
}


def pair(prompt: str, chosen: str, rejected: str) -> LedgerRow:
    return LedgerRow(
        prompt, prompt, "pair", (5.0, 1.0), (1, 1), "c", "r", chosen, rejected, 5.0, 1.0
    )


# The chosen answer is the longer one in one pair, and the shorter one in the other.
PAIRS = [
    pair("Hi", "The quick brown fox.", "dog"),
    pair("Who jumps?", "The fox.", "The lazy dog. The lazy dog."),
]


def first_step(
    policy: Path,
    reference: Path | None,
    work: Path,
    section: DpoSection,
    pairs: Sequence[LedgerRow],
) -> dict[str, float]:
    work.mkdir(parents=True, exist_ok=True)
    job = TrainingJob(
        policy=policy,
        reference=reference,
        dpo=section,
        seed=0,
        device="cpu",
        work=work,
        metrics=work.parent / f"{work.name}.metrics.jsonl",
        title="test",
    )
    train_dpo(job, pairs)
    return steps(work)[0]


def by_hand(
    policy: Path, reference: Path, section: DpoSection, pairs: Sequence[LedgerRow]
) -> list[float]:
    return [
        loss_by_hand(
            section,
            tokens_of(policy, reference, row.prompt, row.chosen or ""),
            tokens_of(policy, reference, row.prompt, row.rejected or ""),
            row.confidence,
        )
        for row in pairs
    ]


# --- A pair by hand


def answers(policy: float, reference: float, tokens: int) -> Answers:
    value = torch.tensor([policy])
    return Answers(value, torch.tensor([reference]), value, torch.tensor([tokens]))


# h of the chosen answer: -10 + 12 = 2, over four tokens; of the rejected one: -9 + 8 = -1, over
# three.
# Δ = 3, the difference of the means 1/2 + 1/3 = 5/6.
PAIR = Pairs(answers(-10, -12, 4), answers(-9, -8, 3))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"beta": 0.5}, math.log(1 + math.exp(-1.5))),
        ({"loss": "sigmoid_norm", "beta": 6.0}, math.log(1 + math.exp(-5))),
        ({"loss": "ipo", "beta": 0.5}, (5 / 6 - 1) ** 2),
        ({"loss": "hinge", "beta": 0.25}, 1 - 0.75),
        ({"loss": "hinge", "beta": 0.5}, 0.0),
        ({"loss": "sppo_hard", "beta": 0.5}, (2 - 1) ** 2 + (-1 + 1) ** 2),
        ({"loss": "apo_zero", "beta": 1.0}, 1 - 1 / (1 + math.exp(-2)) + 1 / (1 + math.exp(1))),
        (
            {"loss": "robust", "beta": 1.0, "label_smoothing": 0.25},
            (0.75 * math.log(1 + math.exp(-3)) - 0.25 * math.log(1 + math.exp(3))) / 0.5,
        ),
        (
            {"beta": 1.0, "label_smoothing": 0.25},
            0.75 * math.log(1 + math.exp(-3)) + 0.25 * math.log(1 + math.exp(3)),
        ),
        # No reference is given to SimPO's answers; here means are 2/4 + 1/3, times 3, less 1.
        ({"loss": "simpo", "beta": 3.0, "simpo_gamma": 1.0}, math.log(1 + math.exp(-1.5))),
        # 10 nats over four tokens, at weight 2.
        ({"beta": 0.5, "nll_weight": 2.0}, math.log(1 + math.exp(-1.5)) + 2 * 2.5),
    ],
    ids=str,
)
def test_the_loss_of_a_pair_by_hand(settings: dict[str, Any], expected: float) -> None:
    assert losses(DpoSection(**settings), PAIR).item() == pytest.approx(expected, abs=1e-6)


def test_a_certain_order_is_dpo_and_an_even_chance_is_symmetric_in_the_margin() -> None:
    section, turned = DpoSection(beta=0.5), Pairs(PAIR.rejected, PAIR.chosen)
    plain = losses(section, PAIR)
    assert losses(section, PAIR._replace(confidence=torch.tensor([1.0]))).equal(plain)
    even = torch.tensor([0.5])
    assert losses(section, PAIR._replace(confidence=even)).item() == pytest.approx(
        losses(section, turned._replace(confidence=even)).item()
    )
    # And none is DPO with the pair turned round.
    none = losses(section, PAIR._replace(confidence=torch.tensor([0.0])))
    assert none.item() == pytest.approx(losses(section, turned).item())


def test_a_weight_multiplies_the_preference_and_not_the_likelihood() -> None:
    section = DpoSection(beta=0.5, nll_weight=1.0)
    found = losses(section, PAIR, torch.tensor([0.25])).item()
    assert found == pytest.approx(0.25 * math.log(1 + math.exp(-1.5)) + 2.5)


def test_tokens_beyond_the_shorter_answer_weigh_alpha() -> None:
    # A prompt of one token, then 4 and 2 response tokens, padding behind.
    mask = torch.tensor([[0, 1, 1, 1, 1], [0, 1, 1, 0, 0]])
    assert token_weights(mask, 0.5).tolist() == [[0, 1, 1, 0.5, 0.5], [0, 1, 1, 0, 0]]


def test_the_weight_of_wpo_is_1_for_a_policy_that_gives_all_tokens_one_probability() -> None:
    # Uniform over V tokens: log π = -log V and log Σ π² = -log V, so nothing is left: exp(0) = 1.
    mask = torch.tensor([[0, 1, 1], [0, 1, 0]])
    assert wpo_weights(torch.zeros(2, 3), mask).tolist() == [1.0]
    # Means -1/2 and -2: padding does not count.
    aligned = torch.tensor([[9.0, -1.0, 0.0], [9.0, -2.0, 9.0]])
    assert wpo_weights(aligned, mask).item() == pytest.approx(math.exp(-2.5))


# --- The first step of training


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_first_loss_of_every_objective_is_the_one_by_hand(
    name: str, tiny: Path, other: Path, tmp_path: Path
) -> None:
    section = DpoSection(**SHARED, **OBJECTIVES[name])
    # SimPO is given no reference by the loop, and would not use one.
    reference = None if name == "simpo" else other
    expected = by_hand(tiny, other, section, PAIRS)
    first = first_step(tiny, reference, tmp_path / "w", section, PAIRS)
    assert first["loss"] == pytest.approx(sum(expected) / 2, rel=1e-4)


def test_each_pair_has_its_own_confidence_even_where_another_one_is_dropped(
    tiny: Path, other: Path, tmp_path: Path
) -> None:
    # CREAM's released script shifts the rates to other prompts after a skipped one.
    too_long = replace(pair("fox " * 300, "a", "b"), confidence=0.0)
    first, second = (replace(p, confidence=c) for p, c in zip(PAIRS, (0.9, 0.3), strict=True))
    section = DpoSection(**SHARED, beta=0.3)
    expected = by_hand(tiny, other, section, [first, second])
    found = first_step(tiny, other, tmp_path / "w", section, [too_long, first, second])
    assert found["loss"] == pytest.approx(sum(expected) / 2, rel=1e-4)
    assert abs(sum(by_hand(tiny, other, section, PAIRS)) - sum(expected)) > 1e-2


def test_simpo_runs_no_reference(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_pass(*_: Any) -> None:
        raise AssertionError("the reference was run")

    monkeypatch.setattr(DPOTrainer, "compute_ref_log_probs", no_pass)
    section = DpoSection(**SHARED, **OBJECTIVES["simpo"])
    first = first_step(tiny, None, tmp_path / "w", section, PAIRS)
    # Rewards are those of the loss: beta times the mean log-probability of a token.
    means = [
        section.beta * sum(t.policy for t in tokens) / len(tokens)
        for row in PAIRS
        for tokens in [tokens_of(tiny, tiny, row.prompt, row.chosen or "")]
    ]
    assert first["rewards/chosen"] == pytest.approx(sum(means) / 2, rel=1e-4)


def test_confidences_are_a_column_only_where_one_is_said(tiny: Path) -> None:
    from engines.models import load_model, load_tokenizer, stop_ids
    from engines.prompting import Prompter
    from training.trainers.encoding import Encoder

    tokenizer = load_tokenizer(tiny)
    encoder = Encoder(Prompter(tokenizer), stop_ids(load_model(tiny, torch.float32), tokenizer))
    (row,), _ = encode_pairs(encoder, PAIRS[:1], 128)
    assert set(row) == {"prompt_ids", "chosen_ids", "rejected_ids"}
    # Pairs of judgments (Meta-Rewarding) have none beside those of answers that have one.
    rows, _ = encode_pairs(encoder, [replace(PAIRS[0], confidence=0.25), PAIRS[1]], 128)
    assert [row["confidence"] for row in rows] == [0.25, 1.0]
