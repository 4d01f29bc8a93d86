"""What DPO came to, and which of its checkpoints is kept."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import torch

from core.store import Built, write_atomically
from engines.models import load_model, load_tokenizer
from training.trainers import trl_loop

if TYPE_CHECKING:
    from pathlib import Path

    from core.config import DpoSection
    from training.trainers.early_stopping import CheckpointJudge

_LEARNT = "learnt.json"


class Learnt(NamedTuple):
    """What training came to, before a model is chosen from its checkpoints."""

    rows: int
    counts: dict[str, int]
    dropout: list[str]

    @classmethod
    def read(cls, work: Path) -> Learnt:
        """Return what processes that paused have left in a stage's work folder."""
        return cls(**json.loads((work / _LEARNT).read_text()))

    def write(self, work: Path) -> None:
        """Leave it in a stage's work folder."""
        write_atomically(work / _LEARNT, json.dumps(self._asdict()))


def choose(
    learnt: Learnt,
    section: DpoSection,
    work: Path,
    metrics: Path,
    judge: CheckpointJudge | None,
    *,
    trust_remote_code: bool,
) -> tuple[Path, Built]:
    """Return the folder of the model to keep, the judged best if any was judged, and the facts."""
    steps = trl_loop.step_of(trl_loop.last_checkpoint(work))
    kept_step, built = steps, work / "model"
    if judge:
        best = judge.best()
        if best is None:
            raise RuntimeError(f"{work}: no checkpoint was judged")
        kept_step = best.step
        trained = load_model(best.folder, torch.float32, trust_remote_code=trust_remote_code)
        dtype = getattr(torch, section.save_dtype)
        tokenizer = load_tokenizer(best.folder, trust_remote_code=trust_remote_code)
        trl_loop.save(trained, tokenizer, built, dtype=dtype, dropout=learnt.dropout)
    facts = {
        "steps": steps,
        "kept_step": kept_step,
        "beta": section.beta,
        "reference": section.reference,
        "dropout_requested": section.dropout,
        "dropout_applied_to": learnt.dropout,
        "at_kept_step": trl_loop.metrics_at(metrics, kept_step),
    }
    counts = learnt.counts | (judge.counts() if judge else {})
    return built, Built(rows=learnt.rows, counts=counts, facts=facts)
