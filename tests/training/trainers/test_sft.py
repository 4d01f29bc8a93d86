from __future__ import annotations

import gc
import json
import math
import shutil
from pathlib import Path

import pytest
import torch

from core.config import SftSection
from core.errors import NothingToTrain
from core.records import JudgeExample
from core.store import Built
from engines.models import load_model, load_tokenizer, stop_ids
from engines.prompting import Prompter
from judges.replies import parse_score
from tests.training.making import loaded_for_training, steps
from training.trainers import trl_loop
from training.trainers.encoding import IGNORED, Encoder, Row
from training.trainers.job import TrainingJob
from training.trainers.log_probs import score_on_cpu
from training.trainers.sft import eft_rows, train_sft

ROWS = [
    Row("Hi", "The quick brown fox."),
    Row("Who jumps over the dog?", "The fox."),
    Row("Say a long thing.", "The lazy dog. " * 6),
    Row("Bye", "Bye."),
]
SECTION = SftSection(
    lr=1e-2,
    lr_min=2e-3,
    batch_size=2,
    micro_batch_size=2,
    epochs=1,
    dropout=0.0,
    precision="fp32",
    max_length=256,
)


def train(
    base: Path,
    work: Path,
    rows: list[Row] = ROWS,
    section: SftSection = SECTION,
    *,
    device: str = "cpu",
) -> tuple[Path, Built]:
    work.mkdir(parents=True, exist_ok=True)
    job = TrainingJob(
        policy=base,
        sft=section,
        seed=0,
        device=device,
        work=work,
        metrics=work.parent / f"{work.name}.metrics.jsonl",
        title="test",
    )
    return job.model, train_sft(job, rows)


def test_of_several_gpus_training_in_this_process_takes_the_first(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Trainer counts the GPUs even where, as here, none can be used: with two it would make a
    # DataParallel of the model, which TRL refuses.
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    _, alone = train(tiny, tmp_path / "alone")
    _, beside_two = train(tiny, tmp_path / "two", device="cuda")
    assert beside_two.facts["mean_loss"] == alone.facts["mean_loss"]


def test_the_trained_model_is_gone_when_training_returns(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = loaded_for_training(monkeypatch)
    gc.disable()  # else it may run by chance
    try:
        train(tiny, tmp_path / "w")
        assert [model() for model in models] == [None]
    finally:
        gc.enable()


def test_sampling_settings_of_the_model_do_not_stop_its_training_at_the_first_checkpoint(
    tiny: Path, tmp_path: Path
) -> None:
    # In config.json, as older models have them; transformers reads them and refuses to save them.
    base = tmp_path / "base"
    shutil.copytree(tiny, base)
    (base / "generation_config.json").unlink()
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"temperature": 0.6, "top_p": 0.9}))
    model, _ = train(base, tmp_path / "w", section=SECTION.model_copy(update={"max_steps": 1}))
    assert load_model(model, torch.float32).generation_config.eos_token_id == 1  # type: ignore[union-attr]


def response_loss(model_folder: Path, rows: list[Row]) -> float:
    """Mean negative log-probability over response tokens, by hand: shifted by one, no padding."""
    tokenizer = load_tokenizer(model_folder)
    model = load_model(model_folder, torch.float32)
    encoder = Encoder(Prompter(tokenizer), stop_ids(model, tokenizer))
    total, count = 0.0, 0
    for row in rows:
        item = encoder.encode(row.prompt, row.response, 256)
        assert item is not None
        with torch.inference_mode():
            logps = model(torch.tensor([item.input_ids])).logits[0].log_softmax(-1)
        for place in range(len(item.prompt_ids), len(item.input_ids)):
            total -= float(logps[place - 1, item.input_ids[place]])
            count += 1
    return total / count


def test_trl_first_loss_is_the_mean_over_response_tokens_only(tiny: Path, tmp_path: Path) -> None:
    # One step over all four rows: padding, prompts and the shift all have to be right for equality.
    one_step = SECTION.model_copy(update={"batch_size": 4, "micro_batch_size": 4, "max_steps": 1})
    train(tiny, tmp_path / "w", section=one_step)
    assert steps(tmp_path / "w")[0]["loss"] == pytest.approx(response_loss(tiny, ROWS), abs=1e-4)


def test_gradient_accumulation_equals_one_large_batch(tiny: Path, tmp_path: Path) -> None:
    # Rows differ in length, so averaging per micro-batch instead of per token would differ.
    large = SECTION.model_copy(update={"batch_size": 4, "micro_batch_size": 4, "max_steps": 1})
    small = SECTION.model_copy(update={"batch_size": 4, "micro_batch_size": 1, "max_steps": 1})
    first, _ = train(tiny, tmp_path / "large", section=large)
    second, _ = train(tiny, tmp_path / "small", section=small)
    a, b = load_model(first, torch.float32), load_model(second, torch.float32)
    # Adam's first step is the gradient's sign times the learning rate: where a gradient is all but
    # zero, its sign is rounding, which differs between CPUs. A wrong average moves far more.
    moved = [(w - b.get_parameter(n)).abs().flatten() > 2e-4 for n, w in a.named_parameters()]
    assert torch.cat(moved).float().mean() < 1e-4


def test_the_trained_model_answers_and_stops(tiny: Path, tmp_path: Path) -> None:
    from core.config import EngineSection
    from core.records import user
    from engines.engine import Decoding, Request
    from engines.hf.engine import HFEngine

    longer = SECTION.model_copy(update={"epochs": 60})
    folder, _ = train(tiny, tmp_path / "w", rows=ROWS[:2], section=longer)
    engine = HFEngine(folder, EngineSection(device="cpu", dtype="float32"))
    asked = [Request(row.prompt, user(row.prompt)) for row in ROWS[:2]]
    for sampled in engine.sample(asked, Decoding(0.0, 1.0, 40, 0)):
        # The end of turn got loss: without it the model would run on to 40 tokens.
        assert sampled.finish == "stop"
        assert sampled.text == {row.prompt: row.response for row in ROWS}[sampled.key]


def test_padding_gets_no_loss_where_pad_is_eos(tiny: Path, tmp_path: Path) -> None:
    # TRL's own collator over our rows: padded places carry -100 although their id is the eos id.
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    tokenizer = load_tokenizer(tiny)
    encoder = Encoder(Prompter(tokenizer), stop_ids(load_model(tiny, torch.float32), tokenizer))
    examples, _ = encoder.encode_all("rows", [(r,) for r in ROWS[:2]], 256)
    encoded = [example[0] for example in examples if example]
    collate = DataCollatorForLanguageModeling(pad_token_id=tokenizer.eos_token_id)
    batch = collate([{"input_ids": e.input_ids, "labels": e.labels} for e in encoded])
    for at, item in enumerate(encoded):
        size = len(item.input_ids)
        assert batch["labels"][at, :size].tolist() == item.labels
        assert batch["labels"][at, size:].tolist() == [IGNORED] * (batch["labels"].shape[1] - size)
        assert batch["labels"][at, size - 1] == tokenizer.eos_token_id
        assert batch["attention_mask"][at].tolist() == [1] * size + [0] * (
            batch["labels"].shape[1] - size
        )


def test_the_learning_rate_follows_a_cosine_from_lr_to_lr_min(tiny: Path, tmp_path: Path) -> None:
    section = SECTION.model_copy(update={"epochs": 5})  # 4 rows / 2 x 5 = 10 steps
    train(tiny, tmp_path / "w", section=section)
    rates = [step["learning_rate"] for step in steps(tmp_path / "w")]
    # Step s (0-based) of n: min + (max - min)·(1 + cos(pi·s/n))/2.
    expected = [2e-3 + 8e-3 * (1 + math.cos(math.pi * s / 10)) / 2 for s in range(10)]
    assert rates == pytest.approx(expected, rel=1e-6)


def test_the_learning_rate_warms_up_when_asked(tiny: Path, tmp_path: Path) -> None:
    section = SECTION.model_copy(update={"epochs": 5, "warmup_ratio": 0.2})
    train(tiny, tmp_path / "w", section=section)
    # Two of ten steps: 0, then half way.
    assert [s["learning_rate"] for s in steps(tmp_path / "w")][:3] == pytest.approx([0, 5e-3, 1e-2])


def test_dropout_is_applied_where_the_architecture_has_it_and_reported(
    tiny: Path, tmp_path: Path
) -> None:
    section = SECTION.model_copy(update={"dropout": 0.5, "max_steps": 1})
    folder, built = train(tiny, tmp_path / "w", section=section)
    assert built.facts["dropout_applied_to"] == ["attention_dropout"]
    train(tiny, tmp_path / "v", section=SECTION.model_copy(update={"max_steps": 1}))
    assert steps(tmp_path / "w")[0]["loss"] != steps(tmp_path / "v")[0]["loss"]
    # What is saved does not carry the training setting on.
    assert load_model(folder, torch.float32).config.attention_dropout == 0.0


def test_dropout_reaches_the_modules_that_copied_it(tiny: Path) -> None:
    model = load_model(tiny, torch.float32)
    trl_loop.apply_dropout(model, 0.25)
    layer = model.base_model.layers[0].self_attn
    assert (model.config.attention_dropout, layer.attention_dropout) == (0.25, 0.25)


def test_the_pad_tokens_embedding_learns_because_it_may_be_the_end_of_turn(tiny: Path) -> None:
    model = load_model(tiny, torch.float32)
    pad = int(model.config.pad_token_id)
    trl_loop.prepare(model, dropout=0.0)
    model(torch.tensor([[pad, 7, 8]])).logits.sum().backward()
    assert float(model.get_input_embeddings().weight.grad[pad].abs().sum()) > 0


def test_scoring_labelled_positions_only_changes_neither_loss_nor_gradient(tiny: Path) -> None:
    from trl.kernels.chunked_logprob import ChunkedLogProbFunction
    from trl.trainer import utils

    ids = torch.randint(5, 200, (2, 12), generator=torch.Generator().manual_seed(1))
    labels = ids.clone()
    labels[:, :7] = IGNORED
    results = []
    for everywhere in (True, False):
        model = load_model(tiny, torch.float32)
        utils.add_fused_lm_head(model, outputs=("log_probs",))
        score_on_cpu()
        ours = utils._use_triton, utils._ChunkedLogProbFunction
        if everywhere:
            utils._use_triton = lambda device: False
            utils._ChunkedLogProbFunction = ChunkedLogProbFunction
        loss = model(ids, labels=labels, fused_lm_head=True).loss
        loss.backward()
        utils._use_triton, utils._ChunkedLogProbFunction = ours
        results.append((loss.item(), model.get_output_embeddings().weight.grad.clone()))
    assert results[0][0] == pytest.approx(results[1][0], abs=1e-5)
    assert torch.allclose(results[0][1], results[1][1], atol=1e-5)


def test_weights_are_saved_in_the_configured_dtype(tiny: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    for dtype, expected in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        section = SECTION.model_copy(update={"max_steps": 1, "save_dtype": dtype})
        folder, _ = train(tiny, tmp_path / dtype, section=section)
        weights = load_file(folder / "model.safetensors")
        assert {w.dtype for w in weights.values()} == {expected}


def test_rows_without_room_are_counted_and_none_left_is_an_error(
    tiny: Path, tmp_path: Path
) -> None:
    rows = [*ROWS[:2], Row("fox " * 200, "The fox.")]
    _, built = train(
        tiny, tmp_path / "w", rows=rows, section=SECTION.model_copy(update={"max_length": 60})
    )
    assert built.counts == {
        "rows": 3,
        "cut_response": 0,
        "without_end_of_turn": 0,
        "dropped_prompt_too_long": 1,
    }
    with pytest.raises(NothingToTrain, match=r"none of 1 rows fits sft\.max_length = 60"):
        train(
            tiny,
            tmp_path / "v",
            rows=rows[2:],
            section=SECTION.model_copy(update={"max_length": 60}),
        )


def test_judging_rows_hold_the_rubric_and_end_in_a_readable_score() -> None:
    example = JudgeExample(
        "k", "Why?", "Because. Score: 5", "It repeats.\n\nScore: 1", 1.0, "written"
    )
    (row,) = eft_rows([example], "additive")
    assert "User: Why?" in row.prompt
    assert "<response>Because. Score: 5</response>" in row.prompt
    assert parse_score(row.response, low=0, high=5).value == 1.0


def test_a_killed_training_resumes_from_its_checkpoint_to_the_same_weights(
    tiny: Path, tmp_path: Path
) -> None:
    section = SECTION.model_copy(update={"epochs": 4, "checkpoint_steps": 3, "dropout": 0.2})
    whole, _ = train(tiny, tmp_path / "whole", section=section)

    class Killed(Exception):
        """Stands for kill -9: nothing after it runs."""

    original, seen = trl_loop.StepLog.on_log, []

    def dies(
        self: trl_loop.StepLog, args: object, state: object, *rest: object, **kw: object
    ) -> None:
        original(self, args, state, *rest, **kw)  # type: ignore[arg-type]
        seen.append(state)
        if len(seen) == 5:
            raise Killed

    trl_loop.StepLog.on_log = dies  # type: ignore[method-assign, assignment]
    try:
        with pytest.raises(Killed):
            train(tiny, tmp_path / "part", section=section)
    finally:
        trl_loop.StepLog.on_log = original  # type: ignore[method-assign]
    # A checkpoint that the kill left half-written must not be taken for a good one.
    (tmp_path / "part" / "checkpoint-4").mkdir()
    (tmp_path / "part" / "checkpoint-4" / "trainer_state.json").write_text("{")
    resumed, _ = train(tiny, tmp_path / "part", section=section)
    a, b = load_model(whole, torch.float32), load_model(resumed, torch.float32)
    for name, weight in a.named_parameters():
        assert torch.equal(weight, b.get_parameter(name)), name
    assert steps(tmp_path / "part") == steps(tmp_path / "whole")
