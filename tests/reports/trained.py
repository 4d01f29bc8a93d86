"""Preference pairs, and a model trained on them with its log."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from core.records import LedgerRow
from core.stages import model_ref
from core.store import Built, Key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.reports.runs import RunBuilder

BETA = 0.1


def trained(
    built: RunBuilder,
    rewards: Sequence[float],
    *,
    kept: int | None = None,
    strength: float | None = None,
    log: Sequence[Mapping[str, object]] = (),
    loss: str | None = None,
) -> RunBuilder:
    """Make M2 with a training log: the reward of the chosen answers per step."""
    store, ref = built.store, model_ref(2)
    folder = built.folder / "built"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"")
    store.paths.folder(ref).mkdir(exist_ok=True)
    lines = [
        {"step": at, "rewards/chosen": reward, "loss": 1.0 / at}
        for at, reward in enumerate(rewards, start=1)
    ]
    store.paths.metrics(ref).write_text("".join(json.dumps(line) + "\n" for line in lines))
    if log:
        store.paths.verdicts(ref).write_text("".join(json.dumps(line) + "\n" for line in log))
    facts: dict[str, object] = {
        "kept_step": kept or len(rewards),
        "steps": len(rewards),
        "beta": BETA,
    }
    facts |= {} if strength is None else {"kept_strength": strength}
    facts |= {} if loss is None else {"loss": loss}
    store.commit_model(ref, Key({}, {}, 0), folder, Built(facts=facts))
    return built


def ledger(key: str, outcome: str, chosen: str = "", rejected: str = "") -> LedgerRow:
    row = LedgerRow(key, f"prompt {key}", outcome, (4.0, 2.0), (3, 3))
    if outcome != "pair":
        return row
    return LedgerRow(
        key, row.prompt, "pair", row.scores, row.draws_parsed,
        f"{key}/a0", f"{key}/a1", chosen, rejected, 4.0, 2.0,
    )  # fmt: skip
