"""The reference of DPO, and the pairs it is asked about, where several processes train."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset, load_from_disk

from core.errors import disk_errors_named
from core.hashing import model_files, sha256_file
from engines.models import load_model
from training.launch.processes import is_first, processes, shards_weights, wait_for_all
from training.trainers import trl_loop

if TYPE_CHECKING:
    from pathlib import Path

    from trl import DPOConfig

    from training.trainers.dpo import Start


def data_set(rows: list[dict[str, list[int]]], filler: int, work: Path) -> Dataset:
    """Return the pairs as a data set; for several processes on disk, with an empty pair at its end.

    TRL's first process hands the reference's log-probabilities to the others in a file beside it.
    """
    if processes() == 1:
        return Dataset.from_list(rows)
    folder = work / "encoded"
    if is_first():
        empty = {"prompt_ids": [filler] * 2, "chosen_ids": [], "rejected_ids": []}
        shutil.rmtree(folder, ignore_errors=True)
        with disk_errors_named(folder):
            Dataset.from_list([*rows, empty]).save_to_disk(folder)
    wait_for_all()
    return load_from_disk(folder)


def reference_model(start: Start, args: DPOConfig, *, trust_remote_code: bool) -> Any:
    """Return the reference model, None where the policy before training will do.

    Where weights are sharded only the first process has loaded them, and TRL would spread neither
    the policy (before training) nor its own copy of it. So the reference is sharded here.
    """
    if not shards_weights():
        if start.reference is None:
            return None
        return load_model(start.reference, torch.float32, trust_remote_code=trust_remote_code)
    from accelerate import Accelerator
    from accelerate.utils.fsdp_utils import fsdp2_prepare_model

    folder = start.reference or start.policy
    model = load_model(folder, torch.float32, trust_remote_code=trust_remote_code)
    trl_loop.score_labelled_positions_only()
    accelerator = Accelerator(mixed_precision=args.mixed_precision)
    return fsdp2_prepare_model(accelerator, model.requires_grad_(requires_grad=False))


def digest_of(folder: Path) -> str:
    """Return what names the weights of a model folder."""
    return "".join(sha256_file(file) for file in model_files(folder))
