"""SFT and DPO against TRL's default trainers on the same tokens, from folder to saved model."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.comparison import alternate, compared, missing
from benchmarks.data_files import NotHere, ranked_answers
from core.config import DpoSection, SftSection
from core.records import JudgeExample, LedgerRow
from core.stages import project_root
from engines.embedded import embedded_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.comparison import Row
    from benchmarks.machine import Machine
    from benchmarks.workloads import Dtype
    from training.trainers.encoding import Encoder
    from training.trainers.encoding import Row as TrainingRow
    from training.trainers.job import TrainingJob

_DPO_PEER = "TRL's DPOTrainer, its defaults"
_STEPS = 2
_BATCH = 8  # TRL's default
# Short ones, so that five repeats of two steps take minutes.
_QUESTION_CHARACTERS, _ANSWER_CHARACTERS = 200, 400
_MAX_LENGTH = 1024
# Accepted differences of the losses of each step: dropout is off and the data are in one order.
_TOLERANCE = {"bfloat16": 0.02, "float32": 1e-4}

Losses = list[float]


class Sides(NamedTuple):
    """What both sides do with a number of rows, returning the loss of each step."""

    peer: str
    unit: str
    ours: Callable[[int], Losses]
    theirs: Callable[[int], Losses]


def dpo_step(machine: Machine, repeats: int, dtype: Dtype = "float32") -> Row:
    """Compare DPO steps on OpenAssistant's questions with their best and worst answer."""
    del machine
    try:
        pairs = _pairs(_STEPS * _BATCH)
    except NotHere as absent:
        return missing(_DPO_PEER, str(absent))
    section = DpoSection(lr_min=0.0, schedule="linear", **_settings(dtype))
    return _measured(dpo_sides(embedded_folder(), pairs, section), repeats, dtype)


def sft_step(machine: Machine, repeats: int, dtype: Dtype = "float32") -> Row:
    """Compare SFT steps on the packaged judging examples."""
    del machine
    from training.trainers.sft import eft_rows

    rows = eft_rows(_judged(_STEPS * _BATCH), "additive")
    section = SftSection(lr_min=0.0, **_settings(dtype))
    return _measured(sft_sides(embedded_folder(), rows, section), repeats, dtype)


def dpo_sides(folder: Path, pairs: list[LedgerRow], section: DpoSection) -> Sides:
    """Return training on pairs; the section's decay is linear, to 0."""
    from training.trainers.dpo import encode_pairs, train_dpo

    tokens, _ = encode_pairs(_encoder(folder), pairs, section.max_length)
    return Sides(
        _DPO_PEER,
        "pairs",
        lambda count: _ours(folder, lambda job: train_dpo(job, pairs[:count]), dpo=section),
        lambda count: _their_dpo(folder, tokens[:count], section),
    )


def sft_sides(folder: Path, rows: list[TrainingRow], section: SftSection) -> Sides:
    """Return training on rows; the section's decay is to 0."""
    from training.trainers.sft import train_sft

    encoded, _ = _encoder(folder).encode_all("rows", [(row,) for row in rows], section.max_length)
    tokens = [
        {"input_ids": one.input_ids, "labels": one.labels} for (one,) in filter(None, encoded)
    ]
    return Sides(
        "TRL's SFTTrainer, its defaults",
        "rows",
        lambda count: _ours(folder, lambda job: train_sft(job, rows[:count]), sft=section),
        lambda count: _their_sft(folder, tokens[:count], section),
    )


def _settings(dtype: Dtype) -> dict[str, Any]:
    """Return what the sections of both trainers share."""
    return {
        "batch_size": _BATCH,
        "micro_batch_size": _BATCH,
        "dropout": 0.0,
        "max_length": _MAX_LENGTH,
        "precision": "bf16" if dtype == "bfloat16" else "fp32",
    }


def _measured(sides: Sides, repeats: int, dtype: Dtype) -> Row:
    rows = _STEPS * _BATCH
    losses: dict[str, Losses] = {}
    for warm_up in (sides.ours, sides.theirs):
        warm_up(1)
    timings = alternate(
        lambda: losses.update(ours=sides.ours(rows)),
        lambda: losses.update(theirs=sides.theirs(rows)),
        repeats,
    )
    pairs = list(zip(losses["ours"], losses["theirs"], strict=True))
    return compared(
        timings,
        peer=sides.peer,
        equal=all(abs(ours - theirs) <= _TOLERANCE[dtype] for ours, theirs in pairs),
        amount=rows,
        unit=sides.unit,
        n=rows,
        steps=_STEPS,
        losses=losses,
        note=(
            f"{_STEPS} steps of {_BATCH} {sides.unit} from the model's folder to the saved model, "
            f"in {dtype} on both sides"
        ),
    )


def _pairs(count: int) -> list[LedgerRow]:
    """Return OpenAssistant questions with their best and worst answer.

    Raises:
        NotHere: the file is absent or has too few.
    """
    found: list[LedgerRow] = []
    for question, answers in ranked_answers().items():
        chosen, rejected = answers[0], answers[-1]
        longest = max(len(chosen), len(rejected))
        if len(question) > _QUESTION_CHARACTERS or longest > _ANSWER_CHARACTERS:
            continue
        key = f"q{len(found)}"
        found.append(
            LedgerRow(key, question, "pair", (None, None), (0, 0), chosen=chosen, rejected=rejected)
        )
    if len(found) < count:
        raise NotHere(f"{len(found)} short pairs in the OpenAssistant file, {count} are wanted")
    return found[:count]


def _judged(count: int) -> list[JudgeExample]:
    """Return the first written judgments of the packaged sample."""
    found = []
    file = project_root() / "data" / "sample" / "eft.trees.jsonl"
    for line in file.read_text(encoding="utf-8").splitlines():
        prompt = json.loads(line)["prompt"]
        for reply in prompt["replies"]:
            target = f"{reply['justification']}\n\nScore: {reply['score']}"
            found.append(
                JudgeExample(
                    reply["message_id"], prompt["text"], reply["text"], target,
                    reply["score"], "written",
                )
            )  # fmt: skip
    return found[:count]


def _encoder(folder: Path) -> Encoder:
    import torch

    from engines.models import load_model, load_tokenizer, stop_ids
    from engines.prompting import Prompter
    from training.trainers.encoding import Encoder

    tokenizer = load_tokenizer(folder)
    return Encoder(Prompter(tokenizer), stop_ids(load_model(folder, torch.float32), tokenizer))


def _ours(folder: Path, train: Callable[[TrainingJob], object], **section: Any) -> Losses:
    from training.trainers.job import TrainingJob

    with tempfile.TemporaryDirectory() as temporary:
        work, metrics = Path(temporary) / "work", Path(temporary) / "metrics.jsonl"
        work.mkdir()
        job = TrainingJob(
            policy=folder,
            seed=0,
            device="cpu",
            work=work,
            metrics=metrics,
            title="training",
            **section,
        )
        train(job)
        return [json.loads(line)["loss"] for line in metrics.read_text().splitlines()]


def _their_dpo(folder: Path, rows: Sequence[dict[str, list[int]]], section: DpoSection) -> Losses:
    from trl import DPOConfig, DPOTrainer

    class Tokens(DPOTrainer):  # type: ignore[misc]
        """TRL's trainer on rows that are tokenised already."""

        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

    return _theirs(folder, Tokens, DPOConfig, rows, section, lr_scheduler_type="linear")


def _their_sft(folder: Path, rows: Sequence[dict[str, list[int]]], section: SftSection) -> Losses:
    from trl import SFTConfig, SFTTrainer

    tokenised = {"skip_prepare_dataset": True}
    more = {"lr_scheduler_type": "cosine", "dataset_kwargs": tokenised}
    return _theirs(folder, SFTTrainer, SFTConfig, rows, section, **more)


def _theirs(
    folder: Path,
    trainer_of: Any,
    config_of: Any,
    rows: Sequence[dict[str, list[int]]],
    section: SftSection | DpoSection,
    **more: Any,
) -> Losses:
    """Train with TRL as it is; our learning rate, arithmetic and seed give our losses."""
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl.kernels import chunked_logprob
    from trl.trainer import utils

    from engines.models import load_tokenizer

    # What training/trainers/log_probs.py has changed, in this process, for our side.
    utils._use_triton = chunked_logprob._use_triton  # noqa: SLF001
    utils._ChunkedLogProbFunction = chunked_logprob.ChunkedLogProbFunction  # noqa: SLF001
    with tempfile.TemporaryDirectory() as temporary:
        quiet = {"report_to": "none", "disable_tqdm": True, "log_level": "error"}
        args = config_of(
            output_dir=temporary,
            per_device_train_batch_size=section.batch_size,
            learning_rate=section.lr,
            bf16=section.precision == "bf16",
            use_cpu=True,
            seed=0,
            logging_steps=1,
            num_train_epochs=section.epochs,
            **quiet,
            **more,
        )
        trainer = trainer_of(
            str(folder),
            args=args,
            train_dataset=Dataset.from_list(list(rows)),
            processing_class=load_tokenizer(folder),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        trainer.save_model(temporary)
        return [line["loss"] for line in trainer.state.log_history if "loss" in line]
