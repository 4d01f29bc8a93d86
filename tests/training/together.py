"""SFT and DPO as several processes run them together.

`python -m tests.training.together fp32|bf16|ddp-cpu|fsdp-cpu BASE OUT`

One process group trains both, because starting one takes longer than training the tiny model.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.config import DpoSection, SftSection
from core.records import LedgerRow
from tests.training.objectives import OBJECTIVES
from training.launch.processes import is_first
from training.trainers.dpo import train_dpo
from training.trainers.encoding import Row
from training.trainers.job import TrainingJob
from training.trainers.sft import train_sft

if TYPE_CHECKING:
    from collections.abc import Sequence

WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "lazy", "dog"]
# Eleven rows of different lengths, four per step: three steps per epoch, the last with three rows,
# which two processes can only share with one empty row. Two epochs: the order changes.
ROWS = [Row(f"Question {i} {WORDS[i % 8]}?", " ".join(WORDS[: 1 + i * 3 % 7])) for i in range(11)]
PAIRS = [
    LedgerRow(
        row.prompt, row.prompt, "pair", (5.0, 1.0), (1, 1), "c", "r",
        row.response, " ".join(WORDS[-1 - i * 5 % 6 :]), 5.0, 1.0,
    )
    for i, row in enumerate(ROWS)
]  # fmt: skip
UNSURE = [replace(pair, confidence=0.2 + 0.25 * at) for at, pair in enumerate(PAIRS[:3])]
# Objectives and pairs per pass, by how the weights are held: starting each takes seconds.
CASES: dict[str, list[tuple[str, int]]] = {
    "ddp-cpu": [(name, 1) for name in OBJECTIVES]
    + [(name, 2) for name in ("sigmoid", "ipo", "ld_nll", "wpo")],
    "fsdp-cpu": [(name, 1) for name in ("sigmoid", "ipo", "ld_nll", "wpo", "simpo")],
}
_SHARED: dict[str, Any] = {
    "batch_size": 4,
    "epochs": 2,
    "dropout": 0.0,
    "precision": "fp32",
    "max_length": 256,
    "checkpoint_steps": 2,
}
SFT = SftSection(lr=1e-2, lr_min=1e-3, micro_batch_size=1, **_SHARED)
# Two pairs per pass: the last one of an epoch holds one pair and one empty pair.
DPO = DpoSection(lr=1e-3, lr_min=1e-4, micro_batch_size=2, **_SHARED)


def job(policy: Path, folder: Path, **more: Any) -> TrainingJob:
    """Return the job of training `policy` in `folder/work`; SFT unless `dpo` is given."""
    work = folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    fields: dict[str, Any] = {} if "dpo" in more else {"sft": SFT}
    fields |= {"seed": 0, "device": "cpu", "title": "test"}
    fields |= {"work": work, "metrics": folder / "metrics.jsonl"}
    return TrainingJob(policy=policy, **(fields | more))


def steps(folder: Path) -> list[dict[str, float]]:
    """Return what a training logged, step by step."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def train_both(base: Path, out: Path) -> None:
    """Train SFT and DPO from `base` into `out/sft` and `out/dpo`."""
    train_sft(job(base, out / "sft"), ROWS)
    train_dpo(job(base, out / "dpo", dpo=DPO), PAIRS)


def train_bf16(base: Path, out: Path) -> None:
    """Train SFT and DPO as `train_both` does, computing in bf16."""
    sft, dpo = (section.model_copy(update={"precision": "bf16"}) for section in (SFT, DPO))
    train_sft(job(base, out / "sft", sft=sft), ROWS)
    train_dpo(job(base, out / "dpo", dpo=dpo), PAIRS)


def one_step(name: str, micro: int) -> DpoSection:
    """Return the settings of one step of an objective."""
    fields = _SHARED | OBJECTIVES[name] | {"max_steps": 1}
    return DpoSection(lr=1e-3, micro_batch_size=micro, **fields)


def train_objectives(base: Path, out: Path, cases: Sequence[tuple[str, int]]) -> None:
    """Train one step of objectives on three pairs, the reference being `out/other`.

    Two processes have four places for the three pairs: one micro-batch holds no pair or, with two
    places in each, one pair and one empty one.
    """
    for name, micro in cases:
        pairs = UNSURE if name == "sigmoid" else PAIRS[:3]
        folder, section = out / f"{name}-{micro}", one_step(name, micro)
        reference = None if name == "simpo" else out / "other"
        train_dpo(job(base, folder, dpo=section, reference=reference), pairs)


def main() -> None:
    base, out = map(Path, sys.argv[2:])
    modes = {"fp32": train_both, "bf16": train_bf16}
    modes |= {name: partial(train_objectives, cases=cases) for name, cases in CASES.items()}
    modes[sys.argv[1]](base, out)
    if is_first():
        (out / "done").touch()


if __name__ == "__main__":
    main()
