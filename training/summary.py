"""Summary tables of a run: what each iteration did, from its manifests and rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from rich.table import Table

from core.stages import SFT_BASELINE, Ref, Stage, model_ref
from core.store import Manifest, Store

if TYPE_CHECKING:
    from core.config import Config
    from core.records import Judgment

MISSING = "–"


class IterationRow(NamedTuple):
    """One iteration's numbers; None if there is nothing to measure."""

    model: str
    prompts_kept: int | None
    prompts_rejected: int | None
    candidates: int | None
    parse_rate: float | None
    mean_score: float | None
    pairs: int | None
    dpo_accuracy: float | None
    dpo_margin: float | None
    mean_characters: float | None


def iteration_row(store: Store, k: int) -> IterationRow:
    """Return the numbers of M_k; its prompts, candidates and judgments come from M_{k-1}."""
    prompts, answers = _find(store, k, Stage.PROMPTS), _find(store, k, Stage.CANDIDATES)
    judged, pairs = _find(store, k, Stage.JUDGMENTS), _find(store, k, Stage.PAIRS)
    model = _find(store, k, Stage.MODEL)
    last: dict[str, float] = model.facts.get("at_kept_step", {}) if model else {}
    kept = prompts.counts.get("kept", 0) if prompts else None
    return IterationRow(
        model=f"M{k}",
        prompts_kept=kept,
        prompts_rejected=(prompts.rows or 0) - (kept or 0) if prompts else None,
        candidates=answers.rows if answers else None,
        parse_rate=parse_rate(judged),
        mean_score=_mean_score(store, Ref(k, Stage.JUDGMENTS)) if judged else None,
        pairs=pairs.counts.get("pair", 0) if pairs else None,
        dpo_accuracy=last.get("rewards/accuracies"),
        dpo_margin=last.get("rewards/margins"),
        mean_characters=answers.facts.get("mean_characters") if answers else None,
    )


def parse_rate(judged: Manifest | None) -> float | None:
    """Return the share of judge replies with a readable score; None when there are none."""
    return judged.counts["parsed"] / judged.rows if judged and judged.rows else None


def _find(store: Store, k: int, stage: Stage) -> Manifest | None:
    ref = Ref(k, stage)
    return store.manifest(ref) if store.exists(ref) else None


def _mean_score(store: Store, ref: Ref) -> float | None:
    judgments: list[Judgment] = store.read(ref)
    scores = [j.score for j in judgments if j.score is not None]
    return sum(scores) / len(scores) if scores else None


def summary_tables(config: Config, k: int) -> list[Table]:
    """Return the seed-data table and the iteration table of a run up to M_k."""
    store = Store(config.folder)
    seed = Table("what", title="Seed data and judging", title_justify="left")
    seed.add_column("value", justify="right")
    for name, value in seed_facts(store):
        seed.add_row(name, value)
    return [seed, _iteration_table(store, k)] if k > 1 else [seed]


def seed_facts(store: Store) -> list[tuple[str, str]]:
    """Return (what, value) rows: IFT and EFT data, parse rates of M0, the baseline and M1."""
    ift, eft = _find(store, 1, Stage.IFT), _find(store, 1, Stage.EFT)
    built, judged = _find(store, 1, Stage.EFT_CONSTRUCTED), _find(store, 1, Stage.EFT_JUDGMENTS)
    given = _find(store, 1, Stage.MODEL)
    facts = [("M1 (given)", given.facts["origin"])] if given and "origin" in given.facts else []
    facts += [
        ("IFT examples", _shown(ift.rows if ift else None, ",")),
        ("EFT training examples", _shown(eft.rows if eft else None, ",")),
    ]
    if built and judged:
        kept = f"{built.counts.get('kept', 0)} of {built.counts['replies']}"
        facts.append(("EFT by construction: kept of judged replies", kept))
        facts.append((f"judge parse rate, {SFT_BASELINE} on ranked replies", _share_of(judged)))
    for k in (0, 1):
        probe = _find(store, k, Stage.PROBE)
        if probe:
            facts.append((f"judge parse rate, M{k} on the EFT evaluation split", _share_of(probe)))
    return facts


def _iteration_table(store: Store, k: int) -> Table:
    table = Table(
        title="Iterations (M_k is trained on what M_{k-1} wrote, answered and judged)",
        title_justify="left",
        caption="DPO accuracy and margin: training batch of the step that was kept. "
        "Length: mean characters of the candidates.",
        caption_justify="left",
    )
    columns = {
        "model": "",
        "prompts kept": ",",
        "rejected": ",",
        "candidates": ",",
        "judge parse rate": ".1%",
        "mean score": ".2f",
        "pairs": ",",
        "DPO accuracy": ".2f",
        "margin": ".3f",
        "length": ".0f",
    }
    for name in columns:
        table.add_column(name, justify="left" if name == "model" else "right")
    for iteration in range(2, k + 1):
        row = iteration_row(store, iteration)
        table.add_row(*map(_shown, row, columns.values()))
    return table


def models_made(config: Config, k: int) -> list[tuple[str, Any]]:
    """Return (name, folder) of every model up to M_k that exists."""
    store = Store(config.folder)
    refs = [("M0", model_ref(0)), ("SFT baseline", SFT_BASELINE)]
    refs += [(f"M{i}", model_ref(i)) for i in range(1, k + 1)]
    return [(name, store.paths.artifact(ref)) for name, ref in refs if store.exists(ref)]


def _shown(value: str | float | None, spec: str) -> str:
    return MISSING if value is None else format(value, spec)


def _share_of(judged: Manifest) -> str:
    return f"{_shown(parse_rate(judged), '.1%')} of {judged.rows}"
