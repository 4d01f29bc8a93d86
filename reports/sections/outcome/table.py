"""Per model: how it was trained, on what pairs, and whether its judging and answers can be used."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from core.benchmarks import BENCHMARKS, FIRST_FEEDBACK_ITERATION
from core.stages import Ref, Stage, evaluation_ref, named_model
from reports.document import Cell, Table, TableRow, number
from reports.sections.cells import EMPTY, PERCENT, cell_of, label, of_point
from reports.sections.loop.judging import readable_share
from reports.sections.loop.training import curves
from reports.sections.outcome.subjects import judged_iteration, made_models

if TYPE_CHECKING:
    from core.reader import RunReader

_COLUMNS = (
    "readable judge replies, %",
    "loss",
    "reward margin",
    "reward accuracy, %",
    "prompts with a pair, %",
    "tied prompts, %",
    "verdicts flipped by order, %",
    "answers cut by the token limit, %",
)


class _Curve(NamedTuple):
    metric: str
    digits: int
    scale: float = 1.0
    of_pairs: bool = True


_CURVES = (
    _Curve("loss", 3, of_pairs=False),
    _Curve("rewards/margins", 3),
    _Curve("rewards/accuracies", 0, PERCENT),
)


def table(results: RunReader) -> Table | None:
    """Return a row per model that the run has made; None without any."""
    models = made_models(results)
    if not models:
        return None
    return Table(
        "outcome",
        "Training, pairs and judging, per model",
        "model",
        _COLUMNS,
        tuple(TableRow(label(model), _cells(results, model)) for model in models),
        notes=(
            f"Readable replies: {_judged_what(results, models)}.",
            "Loss, margin and accuracy: mean of the first → of the last quarter of the training "
            "steps; the loss is that of supervised training up to M1, of DPO from M2. Pairs and "
            "ties: of the prompts that the model was trained with.",
            "Flipped: verdicts on a model and the one before it (M1: the SFT baseline) whose "
            "winner changes with the presentation order. Cut: of all answers to benchmark prompts.",
        ),
    )


def _cells(results: RunReader, model: str) -> tuple[Cell, ...]:
    return (
        readable(results, model),
        *(_curve(results, model, curve) for curve in _CURVES),
        *_pairs(results, model),
        _flipped(results, model),
        _cut(results, model),
    )


class _Source(NamedTuple):
    """Where a model judged: the judgments, their rows in the report, and what was judged."""

    ref: Ref
    rows: str
    what: str


def _iteration(model: str) -> int:
    """Return k of M_k; 0 for the SFT baseline, which has no pairs."""
    return int(model[1:]) if model != "sft" else 0


def _source(results: RunReader, model: str) -> _Source | None:
    """Return the first of a model's judgments that there is: probe, its own iteration, agreement.

    None if it has judged nothing.
    """
    split = "human-ranked replies of the evaluation split"
    if model == "sft":
        found = [_Source(Ref(1, Stage.EFT_JUDGMENTS), "eft_judgments", "EFT by construction")]
    else:
        found = [_Source(Ref(_iteration(model), Stage.PROBE), f"probe/{model}", split)]
    if k := judged_iteration(results, model):
        what = f"its own answers in iteration {k}"
        found.append(_Source(Ref(k, Stage.JUDGMENTS), f"judgments/iter{k}", what))
    ranked = evaluation_ref(f"{model}/agreement", Stage.RANKED_JUDGMENTS)
    found.append(_Source(ranked, ranked.address, "the agreement benchmark"))
    return next((source for source in found if results.exists(source.ref)), None)


def readable(results: RunReader, model: str) -> Cell:
    """Return the share of a model's judge replies that have a readable score, in percent."""
    source = _source(results, model)
    if source is None:
        return Cell(reason="it has judged nothing")
    share = of_point(readable_share(results.rows(source.ref)), "no judgments")
    return replace(share, rows=source.rows)


def _judged_what(results: RunReader, models: list[str]) -> str:
    """Return on what the models judged: "M0 and M1 on ..., M2 on ..."."""
    named: dict[str, list[str]] = {}
    for model in models:
        if (source := _source(results, model)) is not None:
            named.setdefault(source.what, []).append(label(model))
    told = "; ".join(f"{', '.join(names)} on {what}" for what, names in named.items())
    return told or "no model has judged anything"


def _curve(results: RunReader, model: str, curve: _Curve) -> Cell:
    """Return where a metric of a model's training began and ended."""
    is_trained = model != "M0"
    on_pairs = is_trained and _iteration(model) >= FIRST_FEEDBACK_ITERATION
    if not is_trained or (curve.of_pairs and not on_pairs):
        return EMPTY
    found = curves(results, named_model(model)).get(curve.metric)
    if found is None or not found.values:
        return Cell(reason="it is not in the training log")
    first, last = (number(curve.scale * end, curve.digits) for end in found.ends)
    return Cell(text=f"{first}\N{NO-BREAK SPACE}→\N{NO-BREAK SPACE}{last}")


def _pairs(results: RunReader, model: str) -> tuple[Cell, Cell]:
    """Return how many of the prompts a model was trained with gave a pair, and how many tied."""
    k = _iteration(model)
    if k < FIRST_FEEDBACK_ITERATION:
        return EMPTY, EMPTY
    outcomes = Counter(row.outcome for row in results.rows(Ref(k, Stage.PAIRS)))
    if not outcomes:
        absent = Cell(reason="it was trained without preference pairs")
        return absent, absent
    n = outcomes.total()
    pair, tie = (
        Cell(PERCENT * outcomes[name] / n, digits=1, n=n, rows=f"pairs/iter{k}")
        for name in ("pair", "tie")
    )
    return pair, tie


def _flipped(results: RunReader, model: str) -> Cell:
    """Return how often the order of presentation decided about a model and the one before it."""
    k = _iteration(model)
    if k == 0:
        return EMPTY
    before = "sft" if k == 1 else f"M{k - 1}"
    place = f"head_to_head/{model}-{before}"
    return cell_of(results, place, "judge/flip_rate", digits=1, scale=PERCENT)


def _cut(results: RunReader, model: str) -> Cell:
    """Return the share of a model's benchmark answers that the token limit cut, in percent."""
    counts: Counter[str] = Counter()
    for name, facts in BENCHMARKS.items():
        ref = evaluation_ref(f"{model}/{name}", Stage.ANSWERS)
        if facts.of != "iteration" and (manifest := results.known_manifest(ref)) is not None:
            counts.update(manifest.counts)
    n = counts["finish_stop"] + counts["finish_length"]
    if not n:
        return Cell(reason="no benchmark prompt was answered")
    return Cell(PERCENT * counts["finish_length"] / n, digits=1, n=n)
