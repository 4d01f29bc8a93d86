"""DPO training against TRL's default trainer on the same pairs, from folder to saved model."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.comparison import alternate, compared, missing
from benchmarks.data_files import NotHere, ranked_answers
from core.config import DpoSection
from core.records import LedgerRow
from engines.embedded import embedded_folder

if TYPE_CHECKING:
    from benchmarks.comparison import Row
    from benchmarks.machine import Machine

_PEER = "TRL DPOTrainer, its defaults but float32"
_STEPS = 2
_BATCH = 8  # TRL's default
# Short ones, so that five repeats of two steps take minutes.
_QUESTION_CHARACTERS, _ANSWER_CHARACTERS = 200, 400


def dpo_step(machine: Machine, repeats: int) -> Row:
    """Compare two optimiser steps of eight pairs each, loading and saving included."""
    del machine
    try:
        pairs = _pairs(_STEPS * _BATCH)
    except NotHere as absent:
        return missing(_PEER, str(absent))
    for warm_up in (_ours, _theirs):
        warm_up(pairs[:1], steps=1)
    timings = alternate(
        lambda: _ours(pairs, steps=_STEPS), lambda: _theirs(pairs, steps=_STEPS), repeats
    )
    return compared(
        timings,
        peer=_PEER,
        equal=None,
        amount=len(pairs),
        unit="pairs",
        n=len(pairs),
        steps=_STEPS,
        note=(
            f"{_STEPS} steps of {_BATCH} pairs from the model's folder to the saved model, in "
            "float32 on both sides; ours with the settings of DpoSection, but TRL's batch"
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


def _ours(pairs: list[LedgerRow], *, steps: int) -> None:
    from training.trainers.dpo import train_dpo
    from training.trainers.job import TrainingJob

    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary) / "work"
        work.mkdir()
        job = TrainingJob(
            policy=embedded_folder(),
            dpo=DpoSection(batch_size=_BATCH, max_steps=steps, precision="fp32"),
            seed=0,
            device="cpu",
            work=work,
            metrics=Path(temporary) / "metrics.jsonl",
            title="dpo",
        )
        train_dpo(job, pairs)


def _theirs(pairs: list[LedgerRow], *, steps: int) -> None:
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import DPOConfig, DPOTrainer

    rows = [
        {
            "prompt": [_turn("user", pair.prompt)],
            "chosen": [_turn("assistant", pair.chosen)],
            "rejected": [_turn("assistant", pair.rejected)],
        }
        for pair in pairs
    ]
    with tempfile.TemporaryDirectory() as temporary:
        # Its bfloat16 would be emulated, ten times slower, on CPUs without such instructions.
        quiet = {"report_to": "none", "disable_tqdm": True, "log_level": "error"}
        args = DPOConfig(output_dir=temporary, max_steps=steps, use_cpu=True, bf16=False, **quiet)
        trainer = DPOTrainer(
            str(embedded_folder()), args=args, train_dataset=Dataset.from_list(rows)
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        trainer.save_model(temporary)


def _turn(role: str, content: str | None) -> dict[str, Any]:
    return {"role": role, "content": content}
