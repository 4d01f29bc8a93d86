from __future__ import annotations

import gc
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from core.config import DpoSection
from core.errors import Diverged, NothingToTrain
from core.records import LedgerRow
from core.store import Built
from engines.models import load_model, load_tokenizer, stop_ids
from engines.prompting import Prompter
from tests.training.making import loaded_for_training, steps
from training.trainers import dpo
from training.trainers.dpo import encode_pairs, train_dpo
from training.trainers.encoding import Encoder
from training.trainers.job import TrainingJob

SECTION = DpoSection(
    lr=1e-3,
    lr_min=1e-4,
    batch_size=2,
    micro_batch_size=2,
    epochs=1,
    dropout=0.0,
    precision="fp32",
    max_length=256,
)


def pair(prompt: str, chosen: str, rejected: str) -> LedgerRow:
    return LedgerRow(
        prompt, prompt, "pair", (5.0, 1.0), (1, 1), "c", "r", chosen, rejected, 5.0, 1.0
    )


PAIRS = [
    pair("Hi", "The quick brown fox.", "dog"),
    pair("Who jumps?", "The fox.", "The lazy dog. The lazy dog."),
]


def train(
    policy: Path,
    work: Path,
    pairs: list[LedgerRow] = PAIRS,
    section: DpoSection = SECTION,
    reference: Path | None = None,
) -> tuple[Path, Built]:
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
    return job.model, train_dpo(job, pairs)


def logp(folder: Path, prompt: str, response: str) -> float:
    """log p(response and end of turn | prompt), by hand: each token from the place before it."""
    tokenizer = load_tokenizer(folder)
    model = load_model(folder, torch.float32)
    item = Encoder(Prompter(tokenizer), stop_ids(model, tokenizer)).encode(prompt, response, 256)
    assert item is not None
    with torch.inference_mode():
        logps = model(torch.tensor([item.input_ids])).logits[0].log_softmax(-1)
    return sum(
        float(logps[place - 1, item.input_ids[place]])
        for place in range(len(item.prompt_ids), len(item.input_ids))
    )


def test_the_trained_model_is_gone_when_training_returns(
    tiny: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = loaded_for_training(monkeypatch)
    gc.disable()  # else it may run by chance
    try:
        train(tiny, tmp_path / "w", reference=other)
        assert [model() for model in models] == [None] * 2
    finally:
        gc.enable()


def test_the_first_loss_is_log_2_when_policy_and_reference_are_the_same(
    tiny: Path, tmp_path: Path
) -> None:
    # All log ratios are 0: -log sigmoid(0) = log 2, margin 0, accuracy 0 (a tie is no win).
    train(tiny, tmp_path / "w")
    first = steps(tmp_path / "w")[0]
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert first["rewards/margins"] == pytest.approx(0.0, abs=1e-5)


def test_the_dpo_loss_with_another_reference_equals_the_one_derived_by_hand(
    tiny: Path, other: Path, tmp_path: Path
) -> None:
    # -log sigmoid(beta·((pi_c - ref_c) - (pi_r - ref_r))), averaged over pairs
    # (Rafailov et al. 2023, eq. 7).
    # A flipped sign, an unshifted label or an unmasked prompt each change this number.
    section = SECTION.model_copy(update={"reference": "base", "beta": 0.3})
    train(tiny, tmp_path / "w", section=section, reference=other)
    losses, margins = [], []
    for row in PAIRS:
        chosen, rejected = row.chosen or "", row.rejected or ""
        ratio_chosen = logp(tiny, row.prompt, chosen) - logp(other, row.prompt, chosen)
        ratio_rejected = logp(tiny, row.prompt, rejected) - logp(other, row.prompt, rejected)
        margins.append(0.3 * (ratio_chosen - ratio_rejected))
        losses.append(math.log1p(math.exp(-margins[-1])))
    first = steps(tmp_path / "w")[0]
    assert first["loss"] == pytest.approx(sum(losses) / 2, abs=1e-4)
    assert first["rewards/margins"] == pytest.approx(sum(margins) / 2, abs=1e-4)
    assert first["logps/chosen"] == pytest.approx(
        sum(logp(tiny, r.prompt, r.chosen or "") for r in PAIRS) / 2, abs=1e-3
    )


def test_planted_sign_shift_and_mask_errors_would_change_that_loss(tiny: Path, other: Path) -> None:
    # The check above is only worth something if the usual bugs move the number past its tolerance.
    tokenizer = load_tokenizer(tiny)
    encoder = Encoder(Prompter(tokenizer), stop_ids(load_model(tiny, torch.float32), tokenizer))

    def margin(shift: int, *, prompt_too: bool) -> float:
        ratios = []
        for response in (PAIRS[0].chosen, PAIRS[0].rejected):
            item = encoder.encode(PAIRS[0].prompt, response or "", 256)
            assert item is not None
            start = 1 if prompt_too else len(item.prompt_ids)
            total = 0.0
            for folder, sign in ((tiny, 1), (other, -1)):
                with torch.inference_mode():
                    logits = load_model(folder, torch.float32)(
                        torch.tensor([item.input_ids])
                    ).logits
                logps = logits[0].log_softmax(-1)
                for place in range(start, len(item.input_ids)):
                    total += sign * float(logps[place - shift, item.input_ids[place]])
            ratios.append(total)
        return 0.3 * (ratios[0] - ratios[1])

    right = margin(1, prompt_too=False)
    assert abs(margin(0, prompt_too=False) - right) > 1e-3  # labels not shifted
    assert abs(-right - right) > 1e-3  # chosen and rejected swapped
    # The prompt's terms are the same on both sides of a pair and cancel in the margin, so the mask
    # is checked on the log-probabilities themselves, which would include them.
    assert margin(1, prompt_too=True) == pytest.approx(right, abs=1e-3)


def test_training_on_a_toy_preference_raises_margin_and_accuracy(
    tiny: Path, tmp_path: Path
) -> None:
    folder, built = train(tiny, tmp_path / "w", section=SECTION.model_copy(update={"epochs": 30}))
    log = steps(tmp_path / "w")
    assert log[-1]["rewards/margins"] > 0.5
    assert log[-1]["rewards/accuracies"] == 1.0
    assert log[-1]["loss"] < log[0]["loss"]
    for row in PAIRS:
        gap_before = logp(tiny, row.prompt, row.chosen or "") - logp(
            tiny, row.prompt, row.rejected or ""
        )
        gap_after = logp(folder, row.prompt, row.chosen or "") - logp(
            folder, row.prompt, row.rejected or ""
        )
        assert gap_after > gap_before
    assert built.facts["reference"] == "previous"


def test_each_step_logs_what_shows_collapse_early(tiny: Path, tmp_path: Path) -> None:
    train(tiny, tmp_path / "w")
    first = steps(tmp_path / "w")[0]
    tokenizer = load_tokenizer(tiny)
    lengths = [
        len(tokenizer(r.chosen or "", add_special_tokens=False).input_ids) + 1 for r in PAIRS
    ]
    # Response lengths in tokens, the end of turn counted.
    assert first["lengths/chosen"] == pytest.approx(sum(lengths) / 2)
    for name in ("logps/chosen", "logps/rejected", "rewards/margins", "rewards/accuracies"):
        assert name in first


def test_dropout_stays_on_for_dpo_but_not_for_the_reference(tiny: Path, tmp_path: Path) -> None:
    # TRL switches dropout off by default. With it on, policy and reference differ at step 1 though
    # their weights are equal, and the reference's log-probabilities are those of no dropout.
    section = SECTION.model_copy(update={"dropout": 0.5})
    _, built = train(tiny, tmp_path / "w", section=section)
    assert built.facts["dropout_applied_to"] == ["attention_dropout"]
    first = steps(tmp_path / "w")[0]
    assert abs(first["loss"] - math.log(2)) > 1e-6
    reference = first["logps/chosen"] - first["rewards/chosen"] / SECTION.beta
    expected = sum(logp(tiny, r.prompt, r.chosen or "") for r in PAIRS) / 2
    assert reference == pytest.approx(expected, abs=1e-2)


@pytest.fixture
def with_dropout_modules(tiny: Path, tmp_path: Path) -> Path:
    """A tiny GPT-2 with the tiny model's tokenizer: unlike Llama it has nn.Dropout modules."""
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = load_tokenizer(tiny)
    ends = {"eos_token_id": tokenizer.eos_token_id, "bos_token_id": tokenizer.eos_token_id}
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=1, n_head=2, **ends)
    folder = tmp_path / "gpt2"
    torch.manual_seed(0)
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_trl_does_not_switch_off_dropout_modules(
    with_dropout_modules: Path, tmp_path: Path
) -> None:
    # TRL's own default sets every nn.Dropout to 0; the first loss would then be log 2 exactly.
    # (Llama has none of them: there TRL's switch does nothing, whatever it is set to.)
    section = SECTION.model_copy(update={"dropout": 0.5})
    _, built = train(with_dropout_modules, tmp_path / "w", section=section)
    assert set(built.facts["dropout_applied_to"]) == {"embd_pdrop", "resid_pdrop", "attn_pdrop"}
    assert abs(steps(tmp_path / "w")[0]["loss"] - math.log(2)) > 1e-3
    none = SECTION.model_copy(update={"dropout": 0.0})
    train(with_dropout_modules, tmp_path / "v", section=none)
    assert steps(tmp_path / "v")[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)


def test_the_learning_rate_decays_linearly_or_by_cosine_to_its_minimum(
    tiny: Path, tmp_path: Path
) -> None:
    for schedule in ("linear", "cosine"):
        section = SECTION.model_copy(update={"epochs": 4, "schedule": schedule})
        train(tiny, tmp_path / schedule, section=section)
        rates = [s["learning_rate"] for s in steps(tmp_path / schedule)]
        shape = [
            (1 - s / 4) if schedule == "linear" else (1 + math.cos(math.pi * s / 4)) / 2
            for s in range(4)
        ]
        assert rates == pytest.approx([1e-4 + 9e-4 * x for x in shape], rel=1e-5)


def test_pairs_are_encoded_with_one_prompt_and_both_ends_of_turn(tiny: Path) -> None:
    tokenizer = load_tokenizer(tiny)
    encoder = Encoder(Prompter(tokenizer), stop_ids(load_model(tiny, torch.float32), tokenizer))
    rows, counts = encode_pairs(encoder, [*PAIRS, pair("fox " * 300, "a", "b")], 128)
    assert counts["pairs"] == 3
    assert counts["dropped_prompt_too_long"] == 1
    assert counts["cut_response"] == counts["without_end_of_turn"] == 0
    for row, source in zip(rows, PAIRS, strict=True):
        assert tokenizer.decode(row["chosen_ids"]) == f"{source.chosen}<|end|>"
        assert tokenizer.decode(row["rejected_ids"]) == f"{source.rejected}<|end|>"
        assert tokenizer.decode(row["prompt_ids"]).endswith("<|assistant|>\n")


def test_an_answer_cut_by_the_token_limit_does_not_learn_to_stop_there(tiny: Path) -> None:
    tokenizer = load_tokenizer(tiny)
    encoder = Encoder(Prompter(tokenizer), stop_ids(load_model(tiny, torch.float32), tokenizer))
    cut = replace(PAIRS[0], chosen_ended=False)
    (row,), counts = encode_pairs(encoder, [cut], 128)
    assert tokenizer.decode(row["chosen_ids"]) == cut.chosen
    assert tokenizer.decode(row["rejected_ids"]) == f"{cut.rejected}<|end|>"
    assert counts["without_end_of_turn"] == 1


def test_no_pairs_is_an_explained_stop(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(NothingToTrain, match="no preference pairs; the ledger"):
        train(tiny, tmp_path / "w", pairs=[])


def test_a_loss_that_is_no_number_stops_the_training_at_its_step(
    tiny: Path, tmp_path: Path
) -> None:
    # After one step at this rate no weight is a number: neither is the loss of the second.
    section = SECTION.model_copy(update={"lr": 1e39, "max_steps": 4})
    with pytest.raises(Diverged, match="at step 2"):
        train(tiny, tmp_path / "work", section=section)
    assert len(steps(tmp_path / "work")) == 1


@pytest.mark.parametrize("most", [1, 4])
def test_a_training_that_diverges_stops_and_leaves_no_model(
    tiny: Path, tmp_path: Path, most: int
) -> None:
    # With one step only, no loss shows it: the weights themselves must be looked at.
    section = SECTION.model_copy(update={"lr": 1e39, "max_steps": most})
    with pytest.raises(Diverged, match=r"training diverged: .*--redo stale"):
        train(tiny, tmp_path / "work", section=section)
    assert not (tmp_path / "work" / "model").exists()
    text = (tmp_path / "work.metrics.jsonl").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text


def test_the_reference_pass_of_an_earlier_launch_is_kept_for_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dpo, "processes", lambda: 2)
    monkeypatch.setattr(dpo, "wait_for_all", lambda: None)
    rows = [{"prompt_ids": [1, 2], "chosen_ids": [3], "rejected_ids": [4, 5]}]
    first = dpo._data_set(rows, 7, tmp_path)
    # Where TRL keeps the log-probabilities of a model that hashes to "reference".
    cached = Path(first._get_cache_file_path("reference"))
    assert cached.parent == tmp_path / "encoded"
    cached.touch()
    again = dpo._data_set(rows, 7, tmp_path)
    assert cached.exists()
    assert again._fingerprint == first._fingerprint  # TRL looks for it under the same name
    assert [row["chosen_ids"] for row in again] == [[3], []]
    # A kill in the middle of writing, then other rows.
    (tmp_path / "encoded" / "rows.sha256").unlink()
    dpo._data_set(rows, 7, tmp_path)
    assert not cached.exists()
    cached.touch()
    other = dpo._data_set([{**rows[0], "chosen_ids": [9]}], 7, tmp_path)
    assert not cached.exists()
    assert [row["chosen_ids"] for row in other] == [[9], []]
